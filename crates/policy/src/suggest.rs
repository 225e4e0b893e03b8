//! The valid word that somebody most likely meant.

/// Longer words are not compared: no valid word comes near them.
const MAX_COMPARED: usize = 64;

/// The candidate nearest to `word`, if any is near: at most one edit for every three characters; case, `-`, `_` and
/// spaces do not count.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if word.len() > MAX_COMPARED {
        return None;
    }
    let folded = fold(word);
    let allowed = (folded.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .map(|candidate| (strsim::osa_distance(&folded, &fold(candidate)), candidate))
        .filter(|&(distance, candidate)| distance <= allowed && distance < candidate.len())
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, candidate)| candidate)
}

fn fold(word: &str) -> String {
    word.trim().to_lowercase().replace(['-', ' '], "_")
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("netwrok", Some("network"))]
    #[case("Network", Some("network"))]
    #[case("read-only", Some("read_only"))]
    #[case("readonly", Some("read_only"))]
    #[case("colour", None)]
    #[case("x", None)]
    fn finds_what_was_meant(#[case] word: &str, #[case] meant: Option<&str>) {
        assert_eq!(nearest(word, ["network", "read_only", "read_write", "tmp"]), meant);
    }

    #[test]
    fn prefers_the_nearest() {
        assert_eq!(nearest("read_on1y", ["read_one", "read_only"]), Some("read_only"));
    }
}
