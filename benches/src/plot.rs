//! Curves as SVG, readable on light and on dark ground.

use std::path::PathBuf;

use plotters::coord::Shift;
use plotters::coord::ranged1d::{AsRangedCoord, Ranged, ValueFormatter};
use plotters::prelude::*;
use plotters::style::TextStyle;

type Drawing<'a> = DrawingArea<SVGBackend<'a>, Shift>;

const SIZE: (u32, u32) = (760, 440);
const GREY: RGBColor = RGBColor(128, 128, 128);
/// One for each pair of bus and client.
const COLOURS: [RGBColor; 2] = [RGBColor(56, 132, 200), RGBColor(214, 120, 40)];

#[derive(Clone, Copy, Debug)]
pub(crate) enum Scale {
    Linear,
    Logarithmic,
}

/// One curve.
pub(crate) struct Series {
    label: String,
    points: Vec<(usize, f64)>,
    width: u32,
}

impl Series {
    pub(crate) fn solid(label: String, points: Vec<(usize, f64)>) -> Self {
        Self {
            label,
            points,
            width: 3,
        }
    }

    pub(crate) fn thin(label: String, points: Vec<(usize, f64)>) -> Self {
        Self {
            label,
            points,
            width: 1,
        }
    }
}

/// Messages a second against something that grows by factors.
pub(crate) struct Plot {
    title: &'static str,
    axis: &'static str,
    rates: Scale,
    series: Vec<Series>,
}

impl Plot {
    pub(crate) fn new(title: &'static str, axis: &'static str, rates: Scale) -> Self {
        Self {
            title,
            axis,
            rates,
            series: Vec::new(),
        }
    }

    pub(crate) fn add(&mut self, series: Series) {
        self.series.push(series);
    }

    /// Writes it to the folder of the documentation.
    pub(crate) fn write(&self, file: &str) {
        let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/performance"));
        std::fs::create_dir_all(&folder).expect("a folder for the plots");
        let svg = self.svg().expect("a drawing");
        std::fs::write(folder.join(file), svg).expect("a file for the plot");
    }

    fn svg(&self) -> Result<String, Box<dyn std::error::Error>> {
        let mut svg = String::new();
        {
            let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
            let rates = self.series.iter().flat_map(|series| &series.points);
            let rates: Vec<f64> = rates.map(|point| point.1).collect();
            let most = rates.iter().copied().fold(1.0, f64::max);
            let least = rates.iter().copied().fold(most, f64::min).max(1.0);
            match self.rates {
                Scale::Linear => self.draw(&area, 0.0..most * 1.15)?,
                Scale::Logarithmic => self.draw(&area, (least / 1.5..most * 2.0).log_scale())?,
            }
            area.present()?;
        }
        Ok(svg)
    }

    fn draw<R>(&self, area: &Drawing<'_>, rates: R) -> Result<(), Box<dyn std::error::Error>>
    where
        R: AsRangedCoord<Value = f64>,
        R::CoordDescType: Ranged<ValueType = f64> + ValueFormatter<f64>,
    {
        let points = self.series.iter().flat_map(|series| &series.points);
        let mut ticks: Vec<f64> = points.map(|(x, _)| as_float(*x)).collect();
        ticks.sort_by(f64::total_cmp);
        ticks.dedup();
        let from = ticks.first().copied().unwrap_or(1.0) / 1.2;
        let to = ticks.last().copied().unwrap_or(1.0) * 1.2;
        let work = (from..to).log_scale().with_key_points(ticks);
        let mut chart = ChartBuilder::on(area)
            .caption(self.title, text(20))
            .margin(16)
            .x_label_area_size(48)
            .y_label_area_size(72)
            .build_cartesian_2d(work, rates)?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .axis_style(GREY)
            .bold_line_style(GREY.mix(0.3))
            .light_line_style(TRANSPARENT)
            .label_style(text(15))
            .x_desc(self.axis)
            .y_desc("messages a second")
            .x_label_formatter(&|x| short(*x))
            .y_label_formatter(&|y| short(*y))
            .draw()?;
        for (index, series) in self.series.iter().enumerate() {
            let style = COLOURS[index / 2 % COLOURS.len()]
                .filled()
                .stroke_width(series.width);
            let points = series.points.iter().map(|(x, y)| (as_float(*x), *y));
            let line = LineSeries::new(points, style).point_size(3);
            let drawn = chart.draw_series(line)?.label(&series.label);
            drawn.legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], style));
        }
        chart
            .configure_series_labels()
            .label_font(text(15))
            .position(SeriesLabelPosition::LowerLeft)
            .draw()?;
        Ok(())
    }
}

fn text(size: u32) -> TextStyle<'static> {
    ("sans-serif", size).into_font().color(&GREY)
}

#[allow(clippy::cast_precision_loss)] // sizes and counts are small
fn as_float(value: usize) -> f64 {
    value as f64
}

/// 1500 as 1.5 k.
fn short(value: f64) -> String {
    let digits = |value: f64| {
        let text = format!("{value:.1}");
        text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
    };
    match value {
        value if value >= 1e6 => format!("{} M", digits(value / 1e6)),
        value if value >= 1e3 => format!("{} k", digits(value / 1e3)),
        value => digits(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drawing_names_its_curves_and_its_axes() {
        let mut plot = Plot::new("Rate against endpoints", "endpoints", Scale::Logarithmic);
        let points = vec![(1, 50_000.0), (10, 45_000.0), (100, 300.0)];
        plot.add(Series::solid("send, bus".to_owned(), points.clone()));
        plot.add(Series::thin("send, lapin alone".to_owned(), points));
        let svg = plot.svg().expect("a drawing");
        for text in [
            "Rate against endpoints",
            "endpoints",
            "messages a second",
            "send, lapin alone",
            "10 k",
        ] {
            assert!(svg.contains(text), "{text} is not in {svg}");
        }
    }

    #[test]
    fn large_numbers_are_short() {
        assert_eq!(
            [1_000_000.0, 1500.0, 700.0, 0.0].map(short),
            ["1 M", "1.5 k", "700", "0"]
        );
    }
}
