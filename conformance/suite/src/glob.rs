//! Patterns over probe ids: `*` stands for any run of characters, `/` included. Nothing else is special, but that commas stand
//! between the patterns of a list.

/// Whether `id` matches one of `patterns`, which commas separate.
pub fn matches_any(patterns: &str, id: &str) -> bool {
    patterns.split(',').any(|pattern| matches(pattern, id))
}

/// Whether `id` matches `pattern` as a whole.
pub fn matches(pattern: &str, id: &str) -> bool {
    let mut parts = pattern.split('*');
    // `split` yields at least one part.
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = id.strip_prefix(first) else { return false };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::{matches, matches_any};
    use rstest::rstest;

    #[rstest]
    #[case("fs/read/etc-shadow", "fs/read/etc-shadow", true)]
    #[case("fs/read", "fs/read/etc-shadow", false)]
    #[case("fs/*", "fs/read/etc-shadow", true)]
    #[case("*", "anything", true)]
    #[case("", "x", false)]
    #[case("", "", true)]
    #[case("*shadow", "fs/read/etc-shadow", true)]
    #[case("fs/*/etc-*w", "fs/read/etc-shadow", true)]
    #[case("ab*ba", "aba", false)]
    #[case("a*a", "a", false)]
    #[case("*a*a*", "banana", true)]
    #[case("*x*", "banana", false)]
    #[case("net/*/v4", "net/tcp/v4/x", false)]
    fn whole_id(#[case] pattern: &str, #[case] id: &str, #[case] expected: bool) {
        assert_eq!(matches(pattern, id), expected);
    }

    #[rstest]
    #[case("fs/read,ns/*", "ns/own/cgroup", true)]
    #[case("fs/read,ns/*", "fs/read", true)]
    #[case("fs/read,ns/*", "fs/readable", false)]
    #[case("fs/read,", "fs/write", false)]
    fn one_of_several(#[case] patterns: &str, #[case] id: &str, #[case] expected: bool) {
        assert_eq!(matches_any(patterns, id), expected);
    }
}
