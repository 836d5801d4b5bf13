//! Compiles the engine's files here as models: with loom's atomics and futex instead of the machine's.

fn main() {
    println!("cargo::rustc-cfg=loom");
    println!("cargo::rerun-if-changed=build.rs");
}
