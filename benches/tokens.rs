//! Judging a token, by parts and whole, beside the bare signature check and beside jsonwebtoken.
//!
//! `cargo bench --bench tokens`. Times on a noisy machine are for comparing parts with each other;
//! `benches/token_instructions.py` counts the same cases in instructions.

#[path = "../examples/token_costs/cases.rs"]
mod cases;
#[path = "../examples/token_costs/make.rs"]
mod make;

use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};

// As the gateway has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn benches(c: &mut Criterion) {
    for name in cases::names() {
        let mut case = cases::case(&name).expect("a case");
        c.bench_function(&name, |bench| bench.iter(&mut case));
    }
}

criterion_group! {
    name = judging_tokens;
    config = Criterion::default().warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(3));
    targets = benches
}
criterion_main!(judging_tokens);
