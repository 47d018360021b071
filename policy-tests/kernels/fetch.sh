#!/usr/bin/env bash
# Brings Debian's cloud kernels into the cache: fetch.sh [--refresh] [SERIES…]
#
# Each suite gets a private apt configuration, so the machine's own package lists, sources and pins stay as they
# are, and neither root nor Debian as the running distribution is needed: only apt. The packages are never
# installed; apt checks the suite's signature and the packages' digests, `dpkg-deb -x` unpacks them.
# A kernel that is in the cache is used as it is; --refresh looks for a newer one of the same series.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# Modules that a container, or a test of one, needs and that Debian does not build into the cloud kernels.
#   overlay   the host's root as a read-only lower layer
#   virtio_pci virtio_blk  the disk /dev/vda: a device for the io limits to be tested on
#   veth, dummy  network devices, to see that they stay outside
wanted_modules='overlay virtio_pci virtio_blk veth dummy'

refresh=no
if [ "${1:-}" = --refresh ]; then
	refresh=yes
	shift
fi
if [ $# -eq 0 ]; then
	mapfile -t wanted < <(all_series)
else
	wanted=("$@")
fi

missing=$(have apt-get apt-cache dpkg-deb xz zstd) || die "needed to fetch kernels and not on PATH: $missing"
# .pgp from Debian 14 on; in the private tree where the package could not be installed.
for keyring in {,"$private/root"}/usr/share/keyrings/debian-archive-keyring.{gpg,pgp}; do [ ! -e "$keyring" ] || break; done

# mirror: the Debian mirror that PLIM_DEBIAN_MIRROR names, else the one that this machine is configured for. There is
# none on Ubuntu.
mirror() {
	if [ -n "${PLIM_DEBIAN_MIRROR:-}" ]; then
		echo "${PLIM_DEBIAN_MIRROR%/}"
		return
	fi
	# `apt-get indextargets` prints one line per index of the machine's own sources.
	# shellcheck disable=SC2016 # $(…) is apt's own notation
	apt-get indextargets --format '$(SITE) $(REPO_URI) $(LABEL)' 2>/dev/null |
		awk '$3 == "Debian" && $2 ~ /\/debian\/?$/ { print $2; exit }' | sed 's:/*$::' | grep . ||
		sed -n -E 's/^URIs:[[:space:]]*(([a-z]+:\/\/)[^ ]*\/debian)\/?([[:space:]].*)?$/\1/p; s/^deb (\[[^]]*\] )?(([a-z]+:\/\/)[^ ]*\/debian)\/? .*/\2/p' \
			/etc/apt/sources.list /etc/apt/sources.list.d/*.sources /etc/apt/sources.list.d/*.list 2>/dev/null |
		head -n 1 | grep . ||
		die "this machine has no Debian mirror configured: set PLIM_DEBIAN_MIRROR to the URL of one (…/debian)"
}

# private_apt SUITE COMMAND…: runs an apt command that knows nothing but that suite.
private_apt() {
	local root=$cache/apt/$1 command=$2
	shift 2
	"$command" \
		-o Dir::State="$root" -o Dir::State::Lists="$root/lists" -o Dir::State::status="$root/status" \
		-o Dir::Cache="$root/cache" -o Dir::Etc::SourceList="$root/sources.list" -o Dir::Etc::SourceParts=/dev/null \
		-o Dir::Etc::Preferences=/dev/null -o Dir::Etc::PreferencesParts=/dev/null \
		-o APT::Architecture=amd64 -o APT::Architectures=amd64 -o APT::Sandbox::User="$(id -un)" \
		-o Acquire::Languages=none -o Acquire::Retries=3 \
		-o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false \
		-o Acquire::IndexTargets::deb::DEP-11-icons-small::DefaultEnabled=false \
		-o Acquire::IndexTargets::deb::DEP-11-icons::DefaultEnabled=false \
		-o Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled=false \
		-q "$@"
}

# depends SUITE PACKAGE: the packages that it depends on directly.
depends() {
	private_apt "$1" apt-cache depends --no-recommends --no-suggests --no-conflicts --no-breaks --no-replaces \
		--no-enhances --important "$2" | awk '$1 ~ /Depends:$/ { print $2 }'
}

# unpack_modules FROM TO: the wanted modules and what they depend on, uncompressed, with the order to load them in.
unpack_modules() {
	local from=$1 to=$2 name file dependency
	add_module() {
		local name=$1
		[ ! -e "$to/$name.ko" ] || return 0
		file=$(find "$from" -name "$name.ko*" -print -quit)
		case $file in
		'') return 0 ;; # built into this kernel
		*.xz) xz -dc "$file" ;;
		*.zst) zstd -dcq "$file" ;;
		*.gz) gzip -dc "$file" ;;
		*) cat "$file" ;;
		esac >"$to/$name.ko"
		# What modinfo(8) would say, for machines without it: a string in the section .modinfo.
		# shellcheck disable=SC2013 # words are meant: names of modules
		for dependency in $(LC_ALL=C grep -aoE 'depends=[a-zA-Z0-9_,-]*' "$to/$name.ko" | sed 's/depends=//; s/,/ /g'); do
			add_module "$dependency"
		done
		echo "$name" >>"$to/order"
	}
	mkdir -p "$to"
	: >"$to/order"
	echo "$wanted_modules" >"$to/wanted"
	for name in $wanted_modules; do add_module "$name"; done
}

# fetch SERIES SUITE
fetch() {
	local series=$1 suite=$2 root=$cache/apt/$2 mirror image packages=() package work
	mirror=$(mirror)
	mkdir -p "$root/lists/partial" "$root/cache/archives/partial"
	: >"$root/status"
	echo "deb [signed-by=$keyring] $mirror $suite main" >"$root/sources.list"
	private_apt "$suite" apt-get -o APT::Update::Error-Mode=any update >"$root/log" 2>&1 || {
		cat "$root/log" >&2
		die "could not read the list of packages for Debian's $suite from $mirror (its kernel is the $series of kernels.tsv)"
	}
	image=$(depends "$suite" linux-image-cloud-amd64 | grep '^linux-image-' | head -n 1) || true
	[ -n "$image" ] || die "Debian's $suite names no kernel behind linux-image-cloud-amd64"
	# Since 7.x the kernel and its modules are packages of their own, which the image package only names.
	mapfile -t packages < <(
		echo "$image"
		depends "$suite" "$image" | grep -E '^linux-(binary|modules)-' || true
	)
	work=$(mktemp -d "$cache/.fetch.XXXXXX")
	# shellcheck disable=SC2064 # the name is meant as it is now
	trap "rm -rf '$work'" EXIT
	(cd "$work" && private_apt "$suite" apt-get download "${packages[@]}" >"$root/log" 2>&1) || {
		cat "$root/log" >&2
		die "could not download ${packages[*]} from Debian's $suite"
	}
	for package in "$work"/*.deb; do
		dpkg-deb -x "$package" "$work/tree"
		basename "$package" .deb >>"$work/package"
		rm "$package"
	done
	mkdir "$work/kernel"
	find "$work/tree" -type f -name "vmlinuz*" -exec mv {} "$work/kernel/vmlinuz" \; # /boot/vmlinuz-RELEASE; since 7.x beside the modules
	unpack_modules "$work/tree" "$work/kernel/modules"
	echo "${image#linux-image-}" >"$work/kernel/release"
	mv "$work/package" "$work/kernel/package"
	rm -rf "${cache:?}/$series"
	mv "$work/kernel" "$cache/$series" # complete or not there at all
	rm -rf "$work" "$root/cache" "$root/lists"
	trap - EXIT
	say "kernels: $series is $(cat "$cache/$series/release") from Debian's $suite"
}

mkdir -p "$cache"
for series in "${wanted[@]}"; do
	suite=$(suite_of "$series")
	[ -n "$suite" ] || die "unknown kernel \"$series\"; known: $(all_series | tr '\n' ' ')"
	# A cache from before a change of the list of modules is as good as none.
	have_modules=$(cat "$cache/$series/modules/wanted" 2>/dev/null || true)
	if [ "$refresh" = yes ] || [ "$have_modules" != "$wanted_modules" ]; then fetch "$series" "$suite"; fi
done
