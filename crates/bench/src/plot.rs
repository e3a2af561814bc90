//! Curves as SVG, for docs/performance.md: few points, read by people.

use std::fmt::Write as _;

use serde::Serialize;

/// Some curves over one measure.
#[derive(Clone, Debug, Serialize)]
pub struct Plot {
    /// The name of its file, without `.svg`.
    pub name: &'static str,
    /// What it shows.
    pub title: String,
    /// What grows; drawn by its logarithm.
    pub x: &'static str,
    /// What is measured, from 0.
    pub y: &'static str,
    /// The curves.
    pub curves: Vec<Curve>,
}

/// One curve.
#[derive(Clone, Debug, Serialize)]
pub struct Curve {
    /// What it is of.
    pub name: String,
    /// Measure (over 0) and value.
    pub points: Vec<(f64, f64)>,
}

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 360.0;
/// Around the area of the curves: left, top, right, bottom.
const MARGIN: [f64; 4] = [76.0, 44.0, 132.0, 56.0];
/// Lines across.
const STEPS: u32 = 5;
const COLOURS: [&str; 4] = ["#1f77b4", "#d62728", "#2ca02c", "#9467bd"];

impl Plot {
    /// The drawing.
    pub fn to_svg(&self) -> String {
        let [left, top, right, bottom] = MARGIN;
        let (width, height) = (WIDTH - left - right, HEIGHT - top - bottom);
        let points = || self.curves.iter().flat_map(|curve| &curve.points);
        let mut measures: Vec<f64> = points().map(|(x, _)| *x).collect();
        measures.sort_unstable_by(f64::total_cmp);
        measures.dedup();
        let low = measures.first().map_or(0.0, |x| x.ln());
        let span = (measures.last().map_or(1.0, |x| x.ln()) - low).max(f64::MIN_POSITIVE);
        let highest = round_up(points().map(|(_, y)| *y).fold(0.0, f64::max));
        let across = |x: f64| left + (x.ln() - low) / span * width;
        let down = |y: f64| top + height - y / highest * height;

        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
             font-family=\"sans-serif\" font-size=\"12\">\n\
             <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
        );
        let text = |x: f64, y: f64, anchor: &str, text: &str| {
            let text = text.replace('&', "&amp;").replace('<', "&lt;");
            format!("<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{text}</text>\n")
        };
        svg += &text(left, 20.0, "start", &self.title);
        svg += &text(left, top - 8.0, "start", self.y);
        svg += &text(left + width / 2.0, HEIGHT - 12.0, "middle", self.x);
        for step in 0..=STEPS {
            let value = highest * f64::from(step) / f64::from(STEPS);
            let y = down(value);
            let end = left + width;
            let _infallible = writeln!(
                svg,
                "<path d=\"M{left:.1} {y:.1}H{end:.1}\" stroke=\"#ddd\" fill=\"none\"/>"
            );
            svg += &text(left - 6.0, y + 4.0, "end", &short(value));
        }
        for x in &measures {
            svg += &text(across(*x), top + height + 18.0, "middle", &short(*x));
        }
        for (curve, colour) in self.curves.iter().zip(COLOURS.iter().cycle()) {
            let line: Vec<_> = curve
                .points
                .iter()
                .map(|(x, y)| format!("{:.1},{:.1}", across(*x), down(*y)))
                .collect();
            let _infallible = writeln!(
                svg,
                "<polyline points=\"{}\" stroke=\"{colour}\" stroke-width=\"2\" fill=\"none\"/>",
                line.join(" ")
            );
            for (x, y) in &curve.points {
                let (x, y) = (across(*x), down(*y));
                let _infallible = writeln!(
                    svg,
                    "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{colour}\"/>"
                );
            }
            if let Some((x, y)) = curve.points.last() {
                svg += &text(across(*x) + 8.0, down(*y) + 4.0, "start", &curve.name);
            }
        }
        svg + "</svg>\n"
    }
}

/// The next of 1, 2 or 5 with zeros.
fn round_up(value: f64) -> f64 {
    let unit = 10_f64.powf(value.max(f64::MIN_POSITIVE).log10().floor());
    [1.0, 2.0, 5.0, 10.0]
        .map(|step| step * unit)
        .into_iter()
        .find(|step| *step >= value)
        .unwrap_or(1.0)
}

/// 1500 as 1.5 k.
fn short(value: f64) -> String {
    let (value, unit) = match value.abs() {
        large if large >= 1e6 => (value / 1e6, " M"),
        large if large >= 1e3 => (value / 1e3, " k"),
        _ => (value, ""),
    };
    format!("{}{unit}", (value * 1e3).round() / 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn higher_values_stand_higher() {
        let points = vec![(1_000.0, 10.0), (10_000.0, 20.0), (100_000.0, 15.0)];
        let plot = Plot {
            name: "p",
            title: "a < b".to_owned(),
            x: "size",
            y: "µs",
            curves: vec![Curve { name: "one".to_owned(), points }],
        };
        let svg = plot.to_svg();
        assert!(svg.contains("a &lt; b") && svg.contains("10 k") && svg.contains("100 k"));
        let line = svg.split("points=\"").nth(1).unwrap().split('"').next().unwrap();
        let points: Vec<(f64, f64)> = line
            .split(' ')
            .map(|point| point.split_once(',').unwrap())
            .map(|(x, y)| (x.parse().unwrap(), y.parse().unwrap()))
            .collect();
        // Equal factors are equal steps; SVG counts downwards.
        assert!((points[1].0 - points[0].0 - (points[2].0 - points[1].0)).abs() < 0.2, "{line}");
        assert!(points[1].1 < points[2].1 && points[2].1 < points[0].1, "{line}");
    }

    #[test]
    fn axes_end_at_round_numbers() {
        assert_eq!([0.7, 1.0, 1.1, 23.0, 501.0].map(round_up), [1.0, 1.0, 2.0, 50.0, 1_000.0]);
        assert_eq!([0.25, 1_500.0, 30e6].map(short), ["0.25", "1.5 k", "30 M"]);
    }
}
