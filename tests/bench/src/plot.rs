//! Bars with ranges, as SVG that is legible on light and on dark pages.

use std::fmt::Write;

use crate::cell::Measured;
use crate::goals::Spread;
use crate::report::{Run, figure};

/// A plot, and the name of its file.
pub struct Plot {
    pub file: &'static str,
    pub title: &'static str,
    figure: fn(&Measured) -> Option<f64>,
    /// The cells, and what their bars are called.
    bars: &'static [(&'static str, &'static str)],
}

pub const PLOTS: [Plot; 5] = [
    Plot {
        file: "cpu-single.svg",
        title: "64 callers of one invite: CPU µs of an invite (nginx: of a request)",
        figure: |cell| cell.cpu_us,
        bars: &[
            ("single/nginx", "nginx"),
            ("single/gateway", "gateway"),
            ("single/fastify", "Fastify"),
            ("single/fastapi", "FastAPI"),
        ],
    },
    Plot {
        file: "cpu-batch.svg",
        title: "50 invites a request: CPU µs of an invite (nginx: of a request)",
        figure: |cell| cell.cpu_us,
        bars: &[
            ("single/nginx", "nginx"),
            ("batch/gateway", "gateway"),
            ("batch/fastify", "Fastify"),
            ("batch/fastapi", "FastAPI"),
        ],
    },
    Plot {
        file: "throughput.svg",
        title: "64 callers of one invite: invites a second",
        figure: |cell| Some(cell.per_second),
        bars: &[
            ("single/nginx", "nginx (requests)"),
            ("single/gateway", "gateway"),
            ("single/fastify", "Fastify"),
            ("single/fastapi", "FastAPI"),
            ("postgres/single", "gateway on PostgreSQL"),
            ("commits/sqlite", "SQLite commits"),
        ],
    },
    Plot {
        file: "sequential.svg",
        title: "One sequential caller: p50 in ms",
        figure: |cell| cell.p50_ms,
        bars: &[
            ("sequential/gateway", "gateway"),
            ("sequential/fastify", "Fastify"),
            ("sequential/fastapi", "FastAPI"),
        ],
    },
    Plot {
        file: "arriving.svg",
        title: "100 requests a second, however long the answers take: p99 in ms",
        figure: |cell| cell.p99_ms,
        bars: &[
            ("arriving/gateway", "gateway"),
            ("arriving/fastify", "Fastify"),
            ("arriving/fastapi", "FastAPI"),
        ],
    },
];

const WIDTH: f64 = 720.0;
const LABELS: f64 = 170.0;
const FIGURES: f64 = 90.0;
const ROW: f64 = 30.0;
const TOP: f64 = 44.0;

impl Plot {
    pub fn draw(&self, run: &Run) -> String {
        let bars: Vec<(&str, Spread)> = self
            .bars
            .iter()
            .filter_map(|(cell, label)| Some((*label, run.spread(cell, self.figure)?)))
            .collect();
        let greatest =
            bars.iter().map(|(_, spread)| spread.greatest).fold(f64::MIN_POSITIVE, f64::max);
        let scale = (WIDTH - LABELS - FIGURES) / greatest;
        let height = TOP + ROW * bars.len() as f64 + 10.0;
        let mut svg = format!(
            r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{title}">
<style>
  text {{ font: 14px sans-serif; fill: #24292f }}
  .title {{ font-weight: bold }}
  .end {{ text-anchor: end }}
  rect {{ fill: #4c8bd6 }}
  .ours {{ fill: #e07b39 }}
  line {{ stroke: #24292f; stroke-width: 1.5 }}
  @media (prefers-color-scheme: dark) {{ text {{ fill: #e6edf3 }} line {{ stroke: #e6edf3 }} }}
</style>
<text class="title" x="8" y="24">{title}</text>
"#,
            title = self.title,
        );
        for (number, (label, spread)) in bars.iter().enumerate() {
            let middle = TOP + ROW * (number as f64 + 0.5);
            let class = if label.starts_with("gateway") { " class=\"ours\"" } else { "" };
            let [median, least, greatest] =
                [spread.median, spread.least, spread.greatest].map(|value| LABELS + value * scale);
            // Writing to a String cannot fail.
            let _ = writeln!(
                svg,
                r#"<text class="end" x="{:.0}" y="{:.0}">{label}</text>
<rect{class} x="{LABELS}" y="{:.1}" width="{:.1}" height="{:.1}"/>
<line x1="{least:.1}" y1="{middle:.1}" x2="{greatest:.1}" y2="{middle:.1}"/>
<text x="{:.1}" y="{:.0}">{}</text>"#,
                LABELS - 8.0,
                middle + 5.0,
                middle - ROW * 0.35,
                median - LABELS,
                ROW * 0.7,
                greatest + 8.0,
                middle + 5.0,
                figure(spread.median),
            );
        }
        svg.push_str("</svg>\n");
        svg
    }
}
