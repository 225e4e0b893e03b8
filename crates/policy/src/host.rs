//! Host patterns: the one dialect in which a policy names hosts.
//!
//! `*.example.org` is exactly one label before the domain, `**.example.org` one or more; nothing else is a
//! metacharacter. A pattern is normalised once, here, and compared with names that went through the same
//! [`normalise_name`].

use std::net::IpAddr;

use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};

use crate::diagnostic::printable;
use crate::refusal::Refusal;

/// The longest label, in bytes (RFC 1035, 2.3.4).
const MAX_LABEL: usize = 63;

/// The longest name without its final dot, in bytes (RFC 1035, 2.3.4).
const MAX_NAME: usize = 253;

/// Top-level names that no resolver answers for, and why.
const DEAD: &[(&str, &str)] = &[
    ("localhost", "it is the sandbox's own loopback, which is always open (RFC 6761, 6.3)"),
    ("invalid", "it never exists (RFC 6761, 6.4)"),
    ("onion", "it is not in the DNS (RFC 7686)"),
];

/// Brings a pattern into its normal form: lower case, A-labels, no trailing dot.
///
/// # Errors
///
/// Everything under which the pattern could never match a name: an empty, over-long or ill-formed label, a wildcard
/// that is not the whole first label, an IP address, a URL or a port, a name outside the DNS.
pub fn normalise_pattern(pattern: &str) -> Result<String, Refusal> {
    let shown = printable(pattern);
    let (wildcard, name) = split_wildcard(pattern);
    if name.is_empty() || name == "." {
        let help = if wildcard.is_empty() {
            "write a host name, such as `example.org`"
        } else {
            "a wildcard needs a domain after it, such as `*.example.org`; `mode: open` allows every host"
        };
        return Err(Refusal::new(format!("host pattern `{shown}` names no domain"), help));
    }
    if name.contains('*') {
        let help = "`*` stands for the whole first label, `**` for one or more: `*.example.org`";
        return Err(Refusal::new(format!("wildcard inside host pattern `{shown}`"), help));
    }
    let dead = |why: &str| format!("host pattern `{shown}` can never match: {why}");
    let name = normalise_name(name)
        .map_err(|refusal| Refusal { message: dead(&refusal.message), help: refusal.help })?;
    let top = name.rsplit('.').next().unwrap_or_default();
    if let Some((top, why)) = DEAD.iter().find(|&&(dead, _)| dead == top) {
        return Err(Refusal::new(dead(&format!("it is in `{top}`")), *why));
    }
    // The shortest label is one byte.
    if !wildcard.is_empty() && 2 + name.len() > MAX_NAME {
        return Err(Refusal::new(dead("no name below it is short enough"), "a name has at most 253 bytes"));
    }
    Ok(format!("{wildcard}{name}"))
}

/// Brings a host name into its normal form: lower case, A-labels (UTS 46, non-transitional), no trailing dot.
///
/// # Errors
///
/// What is not a host name; the message says what it is or has instead.
pub fn normalise_name(name: &str) -> Result<String, Refusal> {
    if let Some(refusal) = not_a_name(name) {
        return Err(refusal);
    }
    let ascii = Uts46::new()
        .to_ascii(name.as_bytes(), AsciiDenyList::EMPTY, Hyphens::Allow, DnsLength::Ignore)
        .map_err(|_| {
            Refusal::new(
                "it is not a valid internationalised name",
                "an `xn--` label does not decode, or a character is one that no host name has",
            )
        })?;
    let ascii = ascii.strip_suffix('.').unwrap_or(&ascii);
    for label in ascii.split('.') {
        check_label(label)?;
    }
    if ascii.len() > MAX_NAME {
        let message = format!("it has {} bytes", ascii.len());
        return Err(Refusal::new(message, format!("a name has at most {MAX_NAME} bytes")));
    }
    if is_number(ascii.rsplit('.').next().unwrap_or_default()) {
        let help = "a name whose last label is a number is read as an IPv4 address: use `cidr` for addresses";
        return Err(Refusal::new("its last label is a number", help));
    }
    Ok(ascii.to_owned())
}

/// Whether the normalised `pattern` matches the normalised `name`.
pub fn matches(pattern: &str, name: &str) -> bool {
    match split_wildcard(pattern) {
        ("", domain) => name == domain,
        (wildcard, domain) => {
            let labels = name.strip_suffix(domain).and_then(|rest| rest.strip_suffix('.'));
            labels.is_some_and(|labels| !labels.is_empty() && (wildcard == "**." || !labels.contains('.')))
        }
    }
}

/// The leading wildcard with its dot, and the rest.
fn split_wildcard(pattern: &str) -> (&str, &str) {
    let end = ["**", "*"].iter().find_map(|star| {
        let rest = pattern.strip_prefix(star)?;
        (rest.is_empty() || rest.starts_with('.')).then_some(star.len() + usize::from(!rest.is_empty()))
    });
    pattern.split_at(end.unwrap_or(0))
}

/// What people write in place of a name.
fn not_a_name(name: &str) -> Option<Refusal> {
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    let alone = "write the host name alone";
    if let Ok(address) = bare.parse::<IpAddr>() {
        let width = if address.is_ipv4() { 32 } else { 128 };
        return Some(Refusal::new("it is an IP address", format!("write `cidr: \"{address}/{width}\"`")));
    }
    if name.contains('/') {
        return Some(Refusal::new("it is a URL or a path", alone));
    }
    if name.contains('@') {
        return Some(Refusal::new("it contains `@`", alone));
    }
    if name.contains(':') {
        return Some(Refusal::new("it contains `:`", "write the host name alone, and the port in `ports`"));
    }
    None
}

fn check_label(label: &str) -> Result<(), Refusal> {
    let shown = printable(label);
    if label.is_empty() {
        return Err(Refusal::new("it has an empty label", "remove the extra dot"));
    }
    if label.len() > MAX_LABEL {
        let message = format!("its label `{shown}` has {} bytes", label.len());
        return Err(Refusal::new(message, format!("a label has at most {MAX_LABEL} bytes")));
    }
    if label.starts_with('-') || label.ends_with('-') {
        return Err(Refusal::new(
            format!("its label `{shown}` starts or ends with `-`"),
            "no host has such a name",
        ));
    }
    let is_strange = |character: &char| !(character.is_ascii_alphanumeric() || "-_".contains(*character));
    if let Some(bad) = label.chars().find(is_strange) {
        let help = "a label has letters, digits, `-` and `_`; the only metacharacter is a leading `*`";
        return Err(Refusal::new(format!("it contains `{}`", printable(&bad.to_string())), help));
    }
    Ok(())
}

/// Whether an URL parser takes a last label for a number of an IPv4 address (WHATWG URL, "ends in a number").
fn is_number(label: &str) -> bool {
    let hex =
        label.strip_prefix("0x").is_some_and(|rest| rest.chars().all(|digit| digit.is_ascii_hexdigit()));
    hex || label.chars().all(|digit| digit.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("crates.io", "crates.io")]
    #[case("Crates.IO.", "crates.io")]
    #[case("*.crates.io", "*.crates.io")]
    #[case("**.Example.ORG", "**.example.org")]
    #[case("bücher.example", "xn--bcher-kva.example")]
    #[case("*.BÜCHER.example", "*.xn--bcher-kva.example")]
    #[case("faß.example", "xn--fa-hia.example")]
    #[case("example。org", "example.org")]
    #[case("r3---sn-x.googlevideo.com", "r3---sn-x.googlevideo.com")]
    #[case("my_bucket.s3.example", "my_bucket.s3.example")]
    #[case("1.example", "1.example")]
    fn normalises(#[case] pattern: &str, #[case] normal: &str) {
        assert_eq!(normalise_pattern(pattern).as_deref(), Ok(normal));
    }

    #[rstest]
    #[case("", "host pattern `` names no domain")]
    #[case(".", "host pattern `.` names no domain")]
    #[case("*", "host pattern `*` names no domain")]
    #[case("**", "host pattern `**` names no domain")]
    #[case("*.", "host pattern `*.` names no domain")]
    #[case("a.*.org", "wildcard inside host pattern `a.*.org`")]
    #[case("*a.org", "wildcard inside host pattern `*a.org`")]
    #[case("*.*.org", "wildcard inside host pattern `*.*.org`")]
    #[case("***.org", "wildcard inside host pattern `***.org`")]
    #[case("a..org", "host pattern `a..org` can never match: it has an empty label")]
    #[case(".org", "host pattern `.org` can never match: it has an empty label")]
    #[case("-a.org", "host pattern `-a.org` can never match: its label `-a` starts or ends with `-`")]
    #[case("a?.org", "host pattern `a?.org` can never match: it contains `?`")]
    #[case("a b.org", "host pattern `a b.org` can never match: it contains ` `")]
    #[case("1.2.3.4", "host pattern `1.2.3.4` can never match: it is an IP address")]
    #[case("::1", "host pattern `::1` can never match: it is an IP address")]
    #[case("[::1]", "host pattern `[::1]` can never match: it is an IP address")]
    #[case("1.2.3", "host pattern `1.2.3` can never match: its last label is a number")]
    #[case("a.0x7f", "host pattern `a.0x7f` can never match: its last label is a number")]
    #[case("https://a.org", "host pattern `https://a.org` can never match: it is a URL or a path")]
    #[case("a.org:443", "host pattern `a.org:443` can never match: it contains `:`")]
    #[case("user@a.org", "host pattern `user@a.org` can never match: it contains `@`")]
    #[case("localhost", "host pattern `localhost` can never match: it is in `localhost`")]
    #[case("a.INVALID", "host pattern `a.INVALID` can never match: it is in `invalid`")]
    #[case("xn--a.org", "host pattern `xn--a.org` can never match: it is not a valid internationalised name")]
    fn refuses(#[case] pattern: &str, #[case] message: &str) {
        assert_eq!(normalise_pattern(pattern).unwrap_err().message, message);
    }

    #[test]
    fn refuses_what_is_too_long() {
        let label = "a".repeat(64);
        assert!(normalise_pattern(&format!("{label}.org")).unwrap_err().message.contains("has 64 bytes"));
        let name = ["abcdefghi"; 26].join(".");
        assert!(normalise_pattern(&name).unwrap_err().message.contains("it has 259 bytes"));
        let barely = "a.".repeat(124) + "bcdef";
        assert_eq!(barely.len(), 253);
        assert!(normalise_pattern(&barely).is_ok());
        assert!(normalise_pattern(&format!("*.{}", &barely[2..])).is_ok());
        assert!(normalise_pattern(&format!("*.{barely}")).is_err());
    }

    #[rstest]
    #[case("a.org", "a.org", true)]
    #[case("a.org", "b.a.org", false)]
    #[case("*.a.org", "b.a.org", true)]
    #[case("*.a.org", "a.org", false)]
    #[case("*.a.org", "c.b.a.org", false)]
    #[case("*.a.org", "ba.org", false)]
    #[case("**.a.org", "b.a.org", true)]
    #[case("**.a.org", "c.b.a.org", true)]
    #[case("**.a.org", "a.org", false)]
    #[case("**.a.org", ".a.org", false)]
    fn matching(#[case] pattern: &str, #[case] name: &str, #[case] matched: bool) {
        assert_eq!(matches(pattern, name), matched);
    }

    proptest! {
        #[test]
        fn normalising_twice_changes_nothing(pattern in "(\\*\\.|\\*\\*\\.)?[a-zA-Zü0-9_.-]{1,30}") {
            if let Ok(normal) = normalise_pattern(&pattern) {
                prop_assert_eq!(normalise_pattern(&normal), Ok(normal));
            }
        }

        #[test]
        fn a_pattern_matches_by_whole_labels(
            pattern in prop::collection::vec("[ab]{1,2}", 1..4),
            more in prop::collection::vec("[ab]{1,2}", 0..3),
            other in prop::option::of("[ab]{1,2}"),
            stars in 0usize..3,
        ) {
            let written = ["", "*.", "**."][stars].to_owned() + &pattern.join(".");
            let mut name: Vec<String> = more.iter().chain(&pattern).cloned().collect();
            if let Some(other) = other {
                *name.last_mut().unwrap() = other;
            }
            let counted = match stars { 0 => more.is_empty(), 1 => more.len() == 1, _ => !more.is_empty() };
            prop_assert_eq!(matches(&written, &name.join(".")), counted && name.ends_with(&pattern));
        }
    }
}
