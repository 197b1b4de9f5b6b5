//! First inputs: a target that is started with `FUZZ_SEEDS=FOLDER` writes its own there and ends.

/// Writes the seeds when asked to. Call it from a target's `init`.
pub fn write<B: AsRef<[u8]>>(seeds: impl IntoIterator<Item = (&'static str, B)>) {
    let Some(folder) = std::env::var_os("FUZZ_SEEDS") else {
        return;
    };
    std::fs::create_dir_all(&folder).expect("FUZZ_SEEDS is a folder");
    for (name, bytes) in seeds {
        std::fs::write(std::path::Path::new(&folder).join(name), bytes).expect("a seed is written");
    }
    std::process::exit(0);
}
