#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
fn main() -> std::process::ExitCode {
    let file = std::env::args().nth(3).map(std::path::PathBuf::from);
    match doorward::config::Config::load(file.as_deref(), &std::env::vars().collect::<Vec<_>>()) {
        Ok(config) => doorward::server::run(std::sync::Arc::new(config)),
        Err(e) => {
            eprintln!("{e}");
            std::process::ExitCode::from(78)
        }
    }
}
