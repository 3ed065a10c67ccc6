//! Draws a section's plot as SVG that can be read in light and in dark: its colours are named in a style that follows
//! the reader's choice. Text stays text. Knows nothing of what the figures mean.

use std::error::Error;

use plotters::coord::ranged1d::{KeyPointHint, Ranged, ValueFormatter};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::comparison::Unit;
use crate::figures::Spread;
use crate::section::{Bars, Lines, Plot};

const WIDTH: i32 = 860;
const FONT: &str = "sans-serif";
const TITLE: i32 = 17;
const TEXT: i32 = 13;
const SMALL: i32 = 11;

const PAPER: RGBColor = RGBColor(0xff, 0xff, 0xff);
const INK: RGBColor = RGBColor(0x24, 0x29, 0x2f);
const FAINT: RGBColor = RGBColor(0xd0, 0xd7, 0xde);
/// Bars and lines, in the order of the legend: as different in brightness as in hue.
const COLOURS: [RGBColor; 6] = [
    RGBColor(0x3b, 0x6f, 0xb6),
    RGBColor(0xe0, 0x8a, 0x2c),
    RGBColor(0x4f, 0x9d, 0x69),
    RGBColor(0xb6, 0x4a, 0x5a),
    RGBColor(0x7d, 0x6b, 0xb0),
    RGBColor(0x6b, 0x7c, 0x85),
];

/// What becomes of the colours where it is dark. The others are seen on both.
const IN_THE_DARK: [(RGBColor, &str); 3] =
    [(PAPER, "#0d1117"), (INK, "#e6edf3"), (FAINT, "#30363d")];

type Drawn = Result<(), Box<dyn Error>>;

/// The plot as an SVG document.
pub(crate) fn svg(plot: &Plot) -> Result<String, Box<dyn Error>> {
    let mut out = String::new();
    match plot {
        Plot::Bars(bars) => draw_bars(bars, &mut out)?,
        Plot::Lines(lines) => draw_lines(lines, &mut out)?,
    }
    Ok(styled(&out))
}

/// Puts the style for the dark behind the document's first tag.
fn styled(svg: &str) -> String {
    let mut rules = String::new();
    for (colour, dark) in IN_THE_DARK {
        let RGBColor(r, g, b) = colour;
        let light = format!("#{r:02X}{g:02X}{b:02X}");
        rules += &format!("[fill=\"{light}\"]{{fill:{dark}}}[stroke=\"{light}\"]{{stroke:{dark}}}");
    }
    let style = format!("<style>@media (prefers-color-scheme:dark){{{rules}}}</style>");
    svg.replacen(">\n", &format!(">\n{style}\n"), 1)
}

fn text(size: i32, colour: RGBColor, horizontal: HPos, vertical: VPos) -> TextStyle<'static> {
    (FONT, size)
        .into_font()
        .color(&colour)
        .pos(Pos::new(horizontal, vertical))
}

// Bars lie, so that names of targets can be read.
const BAR: i32 = 17;
const GAP: i32 = 4;
const GROUP_GAP: i32 = 16;
const LEFT: i32 = 190;
const RIGHT: i32 = 150;
const TOP: i32 = 74;
const BOTTOM: i32 = 40;

fn draw_bars(bars: &Bars, out: &mut String) -> Drawn {
    let each = bars.legend.len() as i32;
    let group = each * BAR + (each - 1) * GAP + GROUP_GAP;
    let height = TOP + BOTTOM + group * bars.groups.len() as i32;
    let area = SVGBackend::with_string(out, (WIDTH as u32, height as u32)).into_drawing_area();
    area.fill(&PAPER)?;
    let label = text(TEXT, INK, HPos::Left, VPos::Center);
    area.draw_text(
        &bars.title,
        &text(TITLE, INK, HPos::Left, VPos::Center),
        (16, 22),
    )?;
    if bars.legend.len() > 1 {
        legend(&area, &bars.legend, 48)?;
    }
    let spreads = || {
        bars.groups
            .iter()
            .flat_map(|(_, bars)| bars.iter().flatten())
    };
    let most = spreads()
        .map(|it| it.most)
        .fold(f64::MIN_POSITIVE, f64::max);
    let least = spreads().map(|it| it.median).fold(most, f64::min);
    let scale = Scale::of(least, most);
    let room = f64::from(WIDTH - LEFT - RIGHT);
    let x = |value: f64| LEFT + (scale.part(value) * room) as i32;
    for tick in scale.ticks() {
        let (at, bottom) = (x(tick), height - BOTTOM);
        area.draw(&PathElement::new([(at, TOP - 8), (at, bottom)], FAINT))?;
        let style = text(SMALL, INK, HPos::Center, VPos::Top);
        area.draw_text(&short(tick), &style, (at, bottom + 6))?;
    }
    let unit = match scale {
        Scale::Linear { .. } => bars.unit.name().to_owned(),
        Scale::Decades { .. } => format!("{}, logarithmic", bars.unit.name()),
    };
    area.draw_text(
        &unit,
        &text(SMALL, INK, HPos::Left, VPos::Top),
        (WIDTH - RIGHT + 24, height - BOTTOM + 6),
    )?;
    let mut top = TOP;
    for (name, values) in &bars.groups {
        let right = text(TEXT, INK, HPos::Right, VPos::Center);
        let middle = top + (group - GROUP_GAP) / 2;
        area.draw_text(name, &right, (LEFT - 12, middle))?;
        for (number, value) in values.iter().enumerate() {
            let at = top + number as i32 * (BAR + GAP);
            let middle = at + BAR / 2;
            let Some(value) = value else {
                area.draw_text("not measured", &label, (LEFT + 6, middle))?;
                continue;
            };
            let colour = COLOURS[number % COLOURS.len()];
            let corners = [(LEFT, at), (x(value.median), at + BAR)];
            area.draw(&Rectangle::new(corners, colour.filled()))?;
            whisker(&area, (x(value.least), x(value.most)), middle)?;
            let end = x(value.most).max(x(value.median));
            area.draw_text(&short(value.median), &label, (end + 8, middle))?;
        }
        top += group;
    }
    area.present()?;
    Ok(())
}

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

fn whisker(area: &Area, (from, to): (i32, i32), y: i32) -> Drawn {
    let line = |points: [(i32, i32); 2]| area.draw(&PathElement::new(points, INK));
    line([(from, y), (to, y)])?;
    line([(from, y - 3), (from, y + 3)])?;
    line([(to, y - 3), (to, y + 3)])?;
    Ok(())
}

fn legend(area: &Area, names: &[String], y: i32) -> Drawn {
    let mut x = 16;
    for (number, name) in names.iter().enumerate() {
        let colour = COLOURS[number % COLOURS.len()];
        let corners = [(x, y - 6), (x + 12, y + 6)];
        area.draw(&Rectangle::new(corners, colour.filled()))?;
        let style = text(TEXT, INK, HPos::Left, VPos::Center);
        area.draw_text(name, &style, (x + 18, y))?;
        // As wide as such a text is at the most, without asking for a font.
        x += 18 + 24 + name.chars().count() as i32 * TEXT * 55 / 100;
    }
    Ok(())
}

/// Where a value stands between the left and the right end.
enum Scale {
    /// From nothing.
    Linear { most: f64 },
    /// Figures of different size: over decades.
    Decades { from: f64, to: f64 },
}

/// From this many times between the least and the most on.
const FAR_APART: f64 = 30.0;

impl Scale {
    fn of(least: f64, most: f64) -> Self {
        if most / least < FAR_APART {
            return Self::Linear { most };
        }
        Self::Decades {
            from: 10_f64.powf(least.log10().floor()),
            to: most,
        }
    }

    fn part(&self, value: f64) -> f64 {
        let part = match *self {
            Self::Linear { most } => value / most,
            Self::Decades { from, to } => (value / from).log10() / (to / from).log10(),
        };
        part.clamp(0.0, 1.0)
    }

    fn ticks(&self) -> Vec<f64> {
        match *self {
            Self::Linear { most } => {
                // A round step that makes four to nine ticks.
                let step = 10_f64.powf((most / 4.0).log10().floor());
                let step = [5.0, 2.0, 1.0].map(|times| times * step);
                let step = step.into_iter().find(|step| most / step >= 4.0);
                let step = step.unwrap_or(most / 4.0);
                let count = (most / step) as usize;
                (0..=count).map(|number| number as f64 * step).collect()
            }
            Self::Decades { from, to } => {
                let decades = (to / from).log10() as i32;
                (0..=decades).map(|it| from * 10_f64.powi(it)).collect()
            }
        }
    }
}

/// A figure with three digits that count.
pub(crate) fn short(value: f64) -> String {
    let (value, letter) = match value.abs() {
        size if size >= 1e6 => (value / 1e6, "M"),
        size if size >= 1e4 => (value / 1e3, "k"),
        _ => (value, ""),
    };
    let digits = match value.abs() {
        size if size >= 100.0 || size.fract() == 0.0 => 0,
        size if size >= 10.0 => 1,
        _ => 2,
    };
    format!("{value:.digits$}{letter}")
}

const LINES_HEIGHT: u32 = 440;

fn draw_lines(lines: &Lines, out: &mut String) -> Drawn {
    let area = SVGBackend::with_string(out, (WIDTH as u32, LINES_HEIGHT)).into_drawing_area();
    area.fill(&PAPER)?;
    area.draw_text(
        &lines.title,
        &text(TITLE, INK, HPos::Left, VPos::Center),
        (16, 22),
    )?;
    let names: Vec<String> = lines.drawn.iter().map(|(name, _)| name.clone()).collect();
    legend(&area, &names, 48)?;
    let points = || lines.drawn.iter().flat_map(|(_, points)| points);
    let (mut x, mut y) = ((f64::MAX, 0.0_f64), (f64::MAX, 0.0_f64));
    for (at, Spread { least, most, .. }) in points() {
        x = (x.0.min(*at), x.1.max(*at));
        y = (y.0.min(*least), y.1.max(*most));
    }
    let mut chart = ChartBuilder::on(&area)
        .margin_top(64)
        .margin_right(30)
        .margin_left(16)
        .x_label_area_size(50)
        .y_label_area_size(70)
        .build_cartesian_2d(decades(x.0, x.1), decades(y.0 / 1.3, y.1 * 1.3))?;
    let style = text(TEXT, INK, HPos::Center, VPos::Center);
    chart
        .configure_mesh()
        .bold_line_style(FAINT)
        .light_line_style(TRANSPARENT)
        .axis_style(INK)
        .label_style((FONT, SMALL).into_font().color(&INK))
        .axis_desc_style(style)
        .x_desc(&lines.x)
        .y_desc(&lines.y)
        .x_label_formatter(&|value| short(*value))
        .y_label_formatter(&|value| short(*value))
        .draw()?;
    for (number, (_, points)) in lines.drawn.iter().enumerate() {
        let colour = COLOURS[number % COLOURS.len()];
        let medians = points.iter().map(|(x, it)| (*x, it.median));
        chart.draw_series(LineSeries::new(medians.clone(), colour.stroke_width(2)))?;
        chart.draw_series(medians.map(|at| Circle::new(at, 4, colour.filled())))?;
        let spreads = points
            .iter()
            .map(|(x, it)| PathElement::new([(*x, it.least), (*x, it.most)], colour));
        chart.draw_series(spreads)?;
    }
    drop(chart);
    area.present()?;
    Ok(())
}

/// A logarithmic axis, with a label at each 1, 2 and 5 where there is room.
fn decades(
    from: f64,
    to: f64,
) -> impl Ranged<ValueType = f64, FormatOption = impl Sized> + ValueFormatter<f64> {
    Decades { from, to }
}

struct Decades {
    from: f64,
    to: f64,
}

impl Ranged for Decades {
    type FormatOption = plotters::coord::ranged1d::NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, (from, to): (i32, i32)) -> i32 {
        let part = (value / self.from).log10() / (self.to / self.from).log10();
        from + (part * f64::from(to - from)) as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, _: Hint) -> Vec<f64> {
        let steps = if self.to / self.from > 200.0 {
            &[1.0][..]
        } else {
            &[1.0, 2.0, 5.0]
        };
        let first = self.from.log10().floor() as i32;
        let last = self.to.log10().ceil() as i32;
        let all =
            (first..=last).flat_map(|decade| steps.iter().map(move |it| it * 10_f64.powi(decade)));
        // A label at the very end counts.
        all.filter(|it| (self.from * 0.999..=self.to * 1.001).contains(it))
            .collect()
    }

    fn range(&self) -> std::ops::Range<f64> {
        self.from..self.to
    }
}

impl ValueFormatter<f64> for Decades {
    fn format(value: &f64) -> String {
        short(*value)
    }
}

/// What a plot's unit is called beside an axis.
pub(crate) fn axis(what: &str, unit: Unit) -> String {
    format!("{what}, {}", unit.name())
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn spread(median: f64) -> Spread {
        Spread {
            median,
            least: median * 0.9,
            most: median * 1.1,
        }
    }

    fn is_whole(svg: &str) {
        assert!(svg.starts_with("<svg "), "{svg}");
        assert!(svg.trim_end().ends_with("</svg>"), "{svg}");
        assert_eq!(svg.matches("prefers-color-scheme:dark").count(), 1);
        assert!(svg.contains("[fill=\"#24292F\"]{fill:#e6edf3}"));
        assert!(svg.contains("fill=\"#24292F\""), "the ink is named so");
        assert!(svg.contains("fill=\"#FFFFFF\""), "the paper is named so");
    }

    #[test]
    fn bars_have_a_name_and_a_figure_each() {
        let bars = Bars {
            title: "To the last watcher".to_owned(),
            unit: Unit::Microseconds,
            legend: vec!["first".to_owned(), "last".to_owned()],
            groups: vec![
                (
                    "floor".to_owned(),
                    vec![Some(spread(12.0)), Some(spread(4_321.0))],
                ),
                ("lost".to_owned(), vec![None, Some(spread(123_456.0))]),
            ],
        };
        let svg = svg(&Plot::Bars(bars)).unwrap();
        is_whole(&svg);
        for wanted in [
            "To the last watcher",
            "floor",
            "first",
            "4321",
            "123k",
            "not measured",
        ] {
            assert!(svg.contains(wanted), "{wanted}: {svg}");
        }
    }

    #[test]
    fn lines_have_their_axes() {
        let lines = Lines {
            title: "Growth".to_owned(),
            x: "watchers".to_owned(),
            y: "ns".to_owned(),
            drawn: vec![(
                "Callboard".to_owned(),
                [10.0, 100.0, 1_000.0]
                    .map(|x| (x, spread(x * 3.0)))
                    .to_vec(),
            )],
        };
        let svg = svg(&Plot::Lines(lines)).unwrap();
        is_whole(&svg);
        for wanted in ["Growth", "watchers", "Callboard", "1000"] {
            assert!(svg.contains(wanted), "{wanted}: {svg}");
        }
    }

    #[test]
    fn figures_are_short() {
        let shown = [0.123, 1.5, 12.34, 123.4, 9_999.0, 12_345.0, 1_500_000.0].map(short);
        assert_eq!(
            shown,
            ["0.12", "1.50", "12.3", "123", "9999", "12.3k", "1.50M"]
        );
    }

    #[test]
    fn ticks_are_round_and_few() {
        let ticks = Scale::of(900.0, 1_234.0).ticks();
        assert_eq!(ticks, [0.0, 200.0, 400.0, 600.0, 800.0, 1_000.0, 1_200.0]);
        let ticks = Scale::of(20.0, 5_000.0).ticks();
        assert_eq!(ticks, [10.0, 100.0, 1_000.0]);
    }
}
