//! The few shapes that plots are made of, and their scales.
//!
//! In: places in pixels. Out: SVG, whose colors the page's style has by class.

use std::fmt::Write as _;

/// An image of a size.
pub(super) struct Svg(String);

/// To which side of its place a text goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

impl Svg {
    pub(super) fn new(width: f64, height: f64) -> Self {
        Self(format!("<svg viewBox=\"0 0 {width} {height}\" role=\"img\">\n"))
    }

    pub(super) fn line(&mut self, class: &str, (x1, y1): (f64, f64), (x2, y2): (f64, f64)) {
        self.put(&format!(
            "<line class=\"{class}\" x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\"/>"
        ));
    }

    pub(super) fn rect(&mut self, class: &str, (x, y): (f64, f64), (width, height): (f64, f64)) {
        let (width, height) = (width.max(0.0), height.max(0.0));
        self.put(&format!(
            "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" rx=\"2\"/>"
        ));
    }

    pub(super) fn circle(&mut self, class: &str, (x, y): (f64, f64), radius: f64) {
        self.put(&format!("<circle class=\"{class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius}\"/>"));
    }

    pub(super) fn text(&mut self, class: &str, (x, y): (f64, f64), anchor: Anchor, text: &str) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        self.put(&format!(
            "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{text}</text>"
        ));
    }

    pub(super) fn finish(mut self) -> String {
        self.0.push_str("</svg>");
        self.0
    }

    fn put(&mut self, shape: &str) {
        let _ = writeln!(self.0, "{shape}"); // writing to a string does not fail
    }
}

/// Numbers from zero on, along a stretch of the image.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scale {
    pub(super) from: f64,
    pub(super) to: f64,
    /// The number at `to`.
    pub(super) top: f64,
}

impl Scale {
    pub(super) fn at(&self, value: f64) -> f64 {
        self.from + (self.to - self.from) * value / self.top
    }

    /// Round numbers for a grid, four to nine of them.
    pub(super) fn ticks(&self) -> impl Iterator<Item = f64> {
        let power = 10_f64.powf((self.top / 4.0).log10().floor());
        let steps = [5.0, 2.0, 1.0].map(|step| step * power);
        let step = steps.into_iter().find(|step| self.top / step >= 4.0).unwrap_or(power);
        let top = self.top;
        (0..).map(move |tick| f64::from(tick) * step).take_while(move |tick| *tick <= top * 1.000_001)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_few_and_round() {
        for (top, expected) in [
            (1.0, &[0.0, 0.2, 0.4, 0.6, 0.8, 1.0][..]),
            (3.4, &[0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0]),
            (8.0, &[0.0, 2.0, 4.0, 6.0, 8.0]),
            (30_720.0, &[0.0, 5_000.0, 10_000.0, 15_000.0, 20_000.0, 25_000.0, 30_000.0]),
        ] {
            let scale = Scale { from: 0.0, to: 100.0, top };
            let ticks: Vec<f64> = scale.ticks().collect();
            assert_eq!(ticks.len(), expected.len(), "{ticks:?}");
            assert!(
                ticks.iter().zip(expected).all(|(tick, expected)| (tick - expected).abs() < 1e-9),
                "{ticks:?}"
            );
            assert!((scale.at(top) - 100.0).abs() < 1e-9 && scale.at(0.0).abs() < 1e-9);
        }
    }
}
