//! What the derive refuses, and in which words.

#[test]
fn mistakes_are_reported_by_the_compiler() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
