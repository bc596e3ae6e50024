//! The JavaScript constants are those of this crate.

use std::path::Path;

use hostler_protocol::worker::constants_cjs;

#[test]
fn the_loader_has_the_generated_constants() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../loader/js/constants.cjs");
    if std::env::var_os("HOSTLER_WRITE_VECTORS").is_some() {
        std::fs::write(&path, constants_cjs()).expect("constants.cjs is writable");
    }
    let text = std::fs::read_to_string(&path).expect("constants.cjs is there");
    assert!(text == constants_cjs(), "constants.cjs is old: run `cargo xtask codegen`");
}
