//! The program `tidegate`; everything is in the library.

fn main() -> std::process::ExitCode {
    keep_freed_memory();
    tidegate::cli::main()
}

/// Buffers of batches and segments are made on one thread and freed on another, all day. By default glibc keeps an arena for each
/// thread, which grow by what the others free, and gives large ones back to the kernel only to be given them again with zeros in
/// them. With these settings draining takes a third of the memory and of the page faults (`make bench`).
#[cfg(target_env = "gnu")]
fn keep_freed_memory() {
    const MIB: libc::c_int = 1024 * 1024;
    for (parameter, value) in [(libc::M_ARENA_MAX, 1), (libc::M_MMAP_THRESHOLD, 4 * MIB), (libc::M_TRIM_THRESHOLD, 16 * MIB)] {
        // SAFETY: called before there are other threads; an unknown parameter is refused and changes nothing.
        unsafe { libc::mallopt(parameter, value) };
    }
}

#[cfg(not(target_env = "gnu"))]
fn keep_freed_memory() {}
