//! What judging a token costs, case by case, for counting instructions: `benches/token_instructions.py` runs it under
//! callgrind.
//!
//!     token_costs NAME COUNT     does the case of that name so many times
//!     token_costs list           the names
//!     token_costs memory         bytes of memory for a token in the cache
//!     token_costs make           new keys and tokens for `TOKEN_COSTS_FILE`, on standard output

mod cases;
mod make;
mod memory;

use std::process::ExitCode;

// As the gateway has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["list"] => cases::names().iter().for_each(|name| println!("{name}")),
        ["memory"] => memory::print(),
        ["make"] => println!("{}", make::fixture()),
        [name, count] => match (cases::case(name), count.parse::<u32>()) {
            (Some(mut case), Ok(count)) => (0..count).for_each(|_| case()),
            _ => return usage(),
        },
        _ => return usage(),
    }
    ExitCode::SUCCESS
}

fn usage() -> ExitCode {
    eprintln!("token_costs NAME COUNT | list | memory | make");
    ExitCode::from(2)
}
