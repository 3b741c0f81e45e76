//! Tables on a terminal.

use comfy_table::Table;
use serde_json::Value;

use crate::{failure::Failure, print};

/// Rows under a header, without lines, each as wide as it is.
pub fn print_table(header: &[&str], rows: Vec<Vec<String>>) -> Result<(), Failure> {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_header(header);
    table.add_rows(rows);
    print(&format!("{table}\n"))
}

/// The text of a member, `-` where there is none.
pub fn text(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
