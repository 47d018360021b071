//! Loading BPF objects. The kernel's types (BTF, 5 MB) are read once in a process: that takes longer than all the rest.

use std::sync::{Mutex, PoisonError};

use aya::{Btf, Ebpf, EbpfLoader};

/// Why an object was not loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The kernel tells no types (CONFIG_DEBUG_INFO_BTF): without them the loader would leave the offsets of the machine that
    /// compiled the programs in them.
    #[error("the kernel's BTF: {0}")]
    NoTypes(String),
    /// The object's maps could not be made.
    #[error(transparent)]
    Maps(#[from] aya::EbpfError),
}

struct Kernel {
    types: Btf,
    loader: EbpfLoader<'static>,
}

static KERNEL: Mutex<Option<Kernel>> = Mutex::new(None);

/// Makes the maps of an object and hands it, with the kernel's types, to `then`, which loads its programs.
///
/// # Errors
/// [`LoadError`].
pub fn load<T>(object: &[u8], then: impl FnOnce(Ebpf, &Btf) -> T) -> Result<T, LoadError> {
    let mut kernel = KERNEL.lock().unwrap_or_else(PoisonError::into_inner);
    let kernel = match &mut *kernel {
        Some(kernel) => kernel,
        none => {
            // The loader reads the types for itself and keeps them to itself: at the same time, then.
            let (types, mut loader) = std::thread::scope(|scope| {
                let types = scope.spawn(Btf::from_sys_fs);
                let loader = EbpfLoader::new();
                (types.join(), loader)
            });
            let types = types.unwrap_or_else(|panic| std::panic::resume_unwind(panic)).map_err(|error| {
                let why = std::error::Error::source(&error).map(|why| format!(": {why}")).unwrap_or_default();
                LoadError::NoTypes(format!("{error}{why}"))
            })?;
            loader.allow_unsupported_maps();
            none.insert(Kernel { types, loader })
        }
    };
    let ebpf = kernel.loader.load(object)?;
    Ok(then(ebpf, &kernel.types))
}
