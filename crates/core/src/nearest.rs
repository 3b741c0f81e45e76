//! Suggests what somebody probably meant who wrote a name that is not known.

/// For names with more bytes nothing is suggested, because comparing long names is costly.
const LONGEST_NAME: usize = 64;

/// The candidate that is most like `name`, if any is. Upper and lower case decide only between equals.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if name.len() > LONGEST_NAME {
        return None;
    }
    let folded = name.to_lowercase();
    let likeness = |candidate: &str| strsim::jaro_winkler(&folded, &candidate.to_lowercase());
    candidates
        .into_iter()
        .map(|candidate| (likeness(candidate), strsim::jaro_winkler(name, candidate), candidate))
        .filter(|(likeness, _, _)| *likeness >= 0.8)
        .max_by(|(a, a_as_written, _), (b, b_as_written, _)| {
            a.total_cmp(b).then(a_as_written.total_cmp(b_as_written))
        })
        .map(|(_, _, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_found_in_whatever_case_it_was_written() {
        let words = ["ACCESS_TYPE_API", "ACCESS_TYPE_WEB", "max_backlog", "kyc"];
        for (name, nearest_one) in [
            ("access_type_web", Some("ACCESS_TYPE_WEB")),
            ("MAX_BACKLOG", Some("max_backlog")),
            ("KYC", Some("kyc")),
            ("unlike", None),
        ] {
            assert_eq!(nearest(name, words), nearest_one, "{name}");
        }
        assert_eq!(nearest("ADA", ["ada", "Ada"]), Some("Ada"), "the more alike of two");
    }
}
