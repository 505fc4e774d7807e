//! The compile errors that a newcomer meets, and whether they say what to do.

#[test]
fn mistakes_in_consumers_are_named_by_the_compiler() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
