//! Patterns over probe ids: `*` stands for any run of characters, `/` included. Nothing else is special.

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
    use super::matches;
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
}
