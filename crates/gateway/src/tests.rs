//! What the tests of several modules need.

/// How many cases a property is tried on: `quick`, or what `PALISADE_TEST_CASES` says.
pub(crate) fn cases(quick: u32) -> u32 {
    std::env::var("PALISADE_TEST_CASES").map_or(quick, |cases| cases.parse().expect("a number"))
}
