//! The difference of two documents, for people.

use std::time::Instant;

use similar::TextDiff;

/// Lines shown around each change.
const CONTEXT: usize = 3;

/// The longest diff that is shown, in bytes.
const MAX: usize = 256 * 1024;

/// A unified diff of two documents under these names; empty if they are equal. If it takes until `deadline`, it is longer than
/// it might be, but still right. Of a very long one only the beginning is returned, which says so.
pub fn diff(old: (&str, &str), new: (&str, &str), deadline: Instant) -> String {
    let shown = complete(old, new, deadline);
    if shown.len() <= MAX {
        return shown;
    }
    let beginning = &shown[..shown.floor_char_boundary(MAX)];
    let lines = beginning.rfind('\n').map_or(beginning, |end| &beginning[..end]);
    format!("{lines}\n… (the diff is longer than what is shown of it)\n")
}

fn complete(old: (&str, &str), new: (&str, &str), deadline: Instant) -> String {
    let ((old_name, old), (new_name, new)) = (old, new);
    if old == new {
        return String::new();
    }
    let lines = TextDiff::configure().deadline(deadline).diff_lines(old, new);
    lines.unified_diff().context_radius(CONTEXT).header(old_name, new_name).to_string()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::{collection::vec, prelude::*, sample::select};

    use super::*;

    fn diff(old: (&str, &str), new: (&str, &str)) -> String {
        super::diff(old, new, Instant::now() + Duration::from_secs(60))
    }

    #[test]
    fn only_what_changed_and_the_lines_around_it_are_shown() {
        let old: String = (1..=20).map(|n| format!("line {n}\n")).collect();
        let new = old.replace("line 10\n", "line X\n");
        let shown = diff(("revision 1", &old), ("candidate", &new));
        assert!(shown.starts_with("--- revision 1\n+++ candidate\n@@ -7,7 +7,7 @@\n"), "{shown}");
        assert!(shown.contains("-line 10\n+line X\n") && !shown.contains("line 6\n"), "{shown}");
    }

    #[test]
    fn equal_documents_have_no_difference() {
        assert_eq!(diff(("a", "x\n"), ("b", "x\n")), "");
    }

    #[test]
    fn a_long_text_that_is_another_throughout_is_compared_in_bounded_time() {
        let text = |seed: u64| -> String {
            let line = |n: u64| format!("# {}\n", (n * seed) % 997);
            (0..250_000).map(line).collect()
        };
        let (old, new) = (text(7_919), text(104_729));
        let began = Instant::now();
        let shown = complete(("a", &old), ("b", &new), began + Duration::from_millis(200));
        let took = began.elapsed();
        assert_eq!(patched(&old, &shown), new);
        // Without a deadline it takes many times as long.
        assert!(took < Duration::from_secs(5), "{took:?}");
        let deadline = Instant::now() + Duration::from_millis(200);
        let beginning = super::diff(("a", &old), ("b", &new), deadline);
        assert!(beginning.len() < MAX + 100 && beginning.starts_with("--- a\n+++ b\n"));
        assert!(beginning.ends_with("longer than what is shown of it)\n"));
    }

    /// What a unified diff makes of a text whose lines all end.
    fn patched(old: &str, diff: &str) -> String {
        let old: Vec<&str> = old.split_inclusive('\n').collect();
        let (mut at, mut new) = (0, String::new());
        for line in diff.split_inclusive('\n').skip(2) {
            if let Some(hunk) = line.strip_prefix("@@ -") {
                let range = hunk.split_once(' ').unwrap().0;
                let (start, length) = range.split_once(',').unwrap_or((range, "1"));
                let start: usize = start.parse().unwrap();
                let start = if length == "0" { start } else { start - 1 };
                new.extend(old[at..start].iter().copied());
                at = start;
                continue;
            }
            let (sign, text) = line.split_at(1);
            if sign != "+" {
                assert_eq!(old[at], text);
                at += 1;
            }
            if sign != "-" {
                new.push_str(text);
            }
        }
        new.extend(old[at..].iter().copied());
        new
    }

    proptest! {
        #[test]
        fn after_its_deadline_it_is_coarser_and_never_wrong(
            old in vec(select(&["a\n", "b\n", "c\n", "\n"][..]), 0..200),
            new in vec(select(&["a\n", "b\n", "c\n", "d\n"][..]), 0..200),
        ) {
            let (old, new) = (old.concat(), new.concat());
            let shown = super::diff(("a", &old), ("b", &new), Instant::now());
            prop_assert_eq!(patched(&old, &shown), new);
        }
    }

    #[test]
    fn a_missing_line_break_at_the_end_is_a_difference() {
        assert!(diff(("a", "x\n"), ("b", "x")).contains("No newline at end of file"));
    }
}
