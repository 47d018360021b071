# shellcheck shell=bash
# Where downloads are kept, and how their programs are found. Sourced, not run.

# Outside the tree: `make clean` and a new clone need not download them again.
cache=${PLIM_KERNEL_CACHE:-${XDG_CACHE_HOME:-${HOME:-/var/tmp}/.cache}/plimsoll/kernels}

# Packages that apt cannot install beside what is installed are unpacked here (private.sh): `root` is their tree, `bin` has a
# wrapper for each of their commands. Last in each search path, so that what is installed is preferred.
private=$cache/packages
case :$PATH: in *":$private/bin:"*) ;; *)
	export PATH=$PATH:$private/bin
	export PYTHONPATH=${PYTHONPATH:+$PYTHONPATH:}$private/root/usr/lib/python3/dist-packages
	;;
esac

# present THERE: whether a command is on PATH (or in /usr/sbin, which is not on every user's PATH), or a file exists. A file with ~ before
# it may be in the private tree, too: what uses it looks there.
present() {
	case $1 in
	\~*) compgen -G "${1#\~}" >/dev/null || compgen -G "$private/root${1#\~}" >/dev/null ;;
	/*) compgen -G "$1" >/dev/null ;;
	*) PATH=$PATH:/usr/sbin:/sbin command -v "$1" >/dev/null ;;
	esac
}

# private_libraries: the directories of the private tree that hold shared libraries, as LD_LIBRARY_PATH lists them.
private_libraries() {
	find "$private/root" -name '*.so.*' -printf '%h\n' 2>/dev/null | sort -u | paste -sd :
}
