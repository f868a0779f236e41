//! Tells cargo that the page is part of the binary, so that a file added to it is embedded by the next build.

fn main() {
    println!("cargo::rerun-if-changed=../web");
}
