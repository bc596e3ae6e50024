//! Plots, as SVG.
//!
//! Owns: which plots a run has, their look. Must never know: the page around them. A plot has a background of its own,
//! so that it can be read on light and dark pages, and colours that most people can tell apart.

use plotters::coord::Shift;
use plotters::prelude::*;

use crate::Outcome;
use crate::figures::{Figure, Side, Spread, number, spread, title};
use crate::record::Record;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

const WIDTH: u32 = 860;
const FONT: &str = "sans-serif";
const INK: RGBColor = RGBColor(34, 34, 34);
const PALE: RGBColor = RGBColor(221, 221, 221);
const FRONT: RGBColor = RGBColor(230, 159, 0);
const WORKER: RGBColor = RGBColor(0, 114, 178);
const OTHERS: RGBColor = RGBColor(150, 150, 150);

/// A file.
pub(super) struct Plot {
    pub(super) file: String,
    /// What it shows, for those who do not see it.
    pub(super) about: String,
    pub(super) svg: String,
}

/// The plots of a run.
pub(super) fn of(record: &Record) -> Outcome<Vec<Plot>> {
    let mut plots = Vec::new();
    let mut add = |kind: &str, about: &str, svg: Outcome<String>| -> Outcome<()> {
        let file = format!("{}-node{}-{kind}.svg", record.scenario, record.machine.node_major);
        plots.push(Plot { file, about: about.to_owned(), svg: svg? });
        Ok(())
    };
    let cases = record.cases();
    if cases.len() == 1 {
        add("throughput", "throughput by peer", throughput(record, cases[0]))?;
        add("cpu", "CPU per request by peer, front and worker", cpu(record, cases[0]))?;
    }
    if record.shares().len() >= 3 {
        add("latency", "latency against the rate of requests", latency(record))?;
    }
    let numbers: Option<Vec<f64>> = cases.iter().map(|case| case.parse().ok()).collect();
    if let Some(numbers) = numbers.filter(|numbers| numbers.len() >= 3) {
        add("cost", "CPU per request and throughput, case by case", cost(record, &numbers))?;
    }
    Ok(plots)
}

/// One bar: parts side by side, the range of its end, a text behind it.
struct Bar {
    label: String,
    parts: Vec<(f64, RGBColor)>,
    range: Option<Spread>,
    text: String,
}

fn throughput(record: &Record, case: &str) -> Outcome<String> {
    let bars = record.peers().into_iter().filter_map(|peer| {
        let range = spread(record, Figure::Throughput, Side::saturated(peer, case))?;
        let colour = if is_ours(peer) { WORKER } else { OTHERS };
        let text = format!("{:.0}", range.median);
        Some(Bar {
            label: title(peer),
            parts: vec![(range.median, colour)],
            range: Some(range),
            text,
        })
    });
    let heading = format!("{}: requests per second (median; line: min to max)", record.scenario);
    bar_chart(&heading, &bars.collect::<Vec<_>>(), &[])
}

fn cpu(record: &Record, case: &str) -> Outcome<String> {
    let bars = record.peers().into_iter().filter_map(|peer| {
        let median = |figure| spread(record, figure, Side::saturated(peer, case)).map(|s| s.median);
        let worker = median(Figure::WorkerCpu)?;
        let front = median(Figure::FrontCpu).unwrap_or(0.0);
        let text = number(front + worker);
        let parts = vec![(front, FRONT), (worker, WORKER)];
        Some(Bar { label: title(peer), parts, range: None, text })
    });
    let heading = format!("{}: CPU microseconds per request (medians)", record.scenario);
    bar_chart(&heading, &bars.collect::<Vec<_>>(), &[("front", FRONT), ("worker", WORKER)])
}

fn is_ours(peer: &str) -> bool {
    ["uring", "epoll", "uring-http"].contains(&peer)
}

fn failed(error: impl std::fmt::Display) -> String {
    format!("a plot cannot be drawn: {error}")
}

fn bar_chart(heading: &str, bars: &[Bar], legend: &[(&str, RGBColor)]) -> Outcome<String> {
    const LEFT: i32 = 180;
    const ROOM: f64 = 590.0;
    const ROW: i32 = 30;
    let rows = i32::try_from(bars.len()).map_err(failed)?;
    let height = u32::try_from(60 + ROW * rows).map_err(failed)?;
    let ends = |bar: &Bar| {
        let whole: f64 = bar.parts.iter().map(|(value, _)| value).sum();
        bar.range.map_or(whole, |range| range.max.max(whole))
    };
    let largest = bars.iter().map(ends).fold(f64::MIN_POSITIVE, f64::max);
    let x = |value: f64| LEFT + (value / largest * ROOM) as i32;
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, (WIDTH, height)).into_drawing_area();
        area.fill(&WHITE).map_err(failed)?;
        let text = |words: &str, at: (i32, i32), size: i32| {
            let style = (FONT, size).into_font().color(&INK);
            area.draw(&Text::new(words.to_owned(), at, style)).map_err(failed)
        };
        let fill = |from, to, colour: RGBColor| {
            area.draw(&Rectangle::new([from, to], colour.filled())).map_err(failed)
        };
        text(heading, (14, 12), 20)?;
        for (index, (name, colour)) in (0..).zip(legend) {
            let left = 640 + 90 * index;
            fill((left, 14), (left + 14, 28), *colour)?;
            text(name, (left + 20, 12), 17)?;
        }
        for (row, bar) in (0..).zip(bars) {
            let top = 48 + ROW * row;
            text(&bar.label, (14, top + 2), 18)?;
            let mut done = 0.0;
            for &(value, colour) in bar.parts.iter().filter(|(value, _)| *value > 0.0) {
                fill((x(done), top), (x(done + value), top + 20), colour)?;
                done += value;
            }
            if let Some(range) = bar.range {
                let line = vec![(x(range.min), top + 10), (x(range.max), top + 10)];
                area.draw(&PathElement::new(line, INK.stroke_width(2))).map_err(failed)?;
            }
            text(&bar.text, (x(ends(bar)) + 8, top + 2), 18)?;
        }
        area.present().map_err(failed)?;
    }
    Ok(svg)
}

/// A peer's points.
struct Line {
    peer: String,
    points: Vec<(f64, f64)>,
}

/// What a chart of lines says around them.
struct Axes<'a> {
    heading: &'a str,
    x: &'a str,
    y: &'a str,
    is_log_x: bool,
    is_log_y: bool,
}

fn latency(record: &Record) -> Outcome<String> {
    let lines = |figure: Figure| -> Vec<Line> {
        let of = |peer: &str| {
            let points = record.shares().into_iter().filter_map(|share| {
                // A peer that fell behind has no latency at this rate.
                if !record.keeps_rate(peer, share) {
                    return None;
                }
                let side = Side { peer, case: "", rate: Some(share) };
                Some((share * 100.0, spread(record, figure, side)?.median.max(1.0)))
            });
            Line { peer: peer.to_owned(), points: points.collect() }
        };
        record.peers().into_iter().map(of).collect()
    };
    let x = "rate, % of what node alone can do";
    let axes = |heading| Axes { heading, x, y: "us", is_log_x: false, is_log_y: true };
    two_charts(
        record,
        (&axes("p50 latency against rate"), &lines(Figure::P50)),
        (&axes("p99 latency against rate"), &lines(Figure::P99)),
    )
}

fn cost(record: &Record, numbers: &[f64]) -> Outcome<String> {
    let lines = |figure: Figure| -> Vec<Line> {
        let of = |peer: &str| {
            let cases = record.cases();
            let points = numbers.iter().zip(cases).filter_map(|(&number, case)| {
                Some((number, spread(record, figure, Side::saturated(peer, case))?.median))
            });
            Line { peer: peer.to_owned(), points: points.collect() }
        };
        record.peers().into_iter().map(of).collect()
    };
    // A few workers stand side by side, hundreds of connections do not.
    let is_log_x = numbers.iter().any(|number| *number >= 50.0);
    let axes = |heading, y| Axes { heading, x: &record.scenario, y, is_log_x, is_log_y: false };
    two_charts(
        record,
        (&axes("server CPU per request", "us"), &lines(Figure::ServerCpu)),
        (&axes("throughput", "requests/s"), &lines(Figure::Throughput)),
    )
}

fn two_charts(
    record: &Record,
    left: (&Axes<'_>, &[Line]),
    right: (&Axes<'_>, &[Line]),
) -> Outcome<String> {
    let mut svg = String::new();
    {
        let legend_rows = u32::try_from(record.peers().len().div_ceil(5)).map_err(failed)?;
        let size = (WIDTH, 350 + 24 * legend_rows);
        let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        area.fill(&WHITE).map_err(failed)?;
        let (charts, legend) = area.split_vertically(330);
        let halves = charts.split_evenly((1, 2));
        chart(&halves[0], left.0, left.1)?;
        chart(&halves[1], right.0, right.1)?;
        for (index, peer) in (0..).zip(record.peers()) {
            let (left, top) = (20 + 165 * (index % 5), 10 + 24 * (index / 5));
            let line = vec![(left, top + 7), (left + 22, top + 7)];
            legend.draw(&PathElement::new(line, colour(peer).stroke_width(3))).map_err(failed)?;
            let style = (FONT, 17).into_font().color(&INK);
            legend.draw(&Text::new(title(peer), (left + 28, top), style)).map_err(failed)?;
        }
        area.present().map_err(failed)?;
    }
    Ok(svg)
}

/// A logarithmic axis shows the logarithm and labels its values: one type of chart serves all four combinations.
fn chart(area: &Area<'_>, axes: &Axes<'_>, lines: &[Line]) -> Outcome<()> {
    let shown = |value: f64, is_log: bool| if is_log { value.max(1e-3).log10() } else { value };
    let point = |&(x, y): &(f64, f64)| (shown(x, axes.is_log_x), shown(y, axes.is_log_y));
    let all: Vec<(f64, f64)> =
        lines.iter().flat_map(|line| line.points.iter().map(point)).collect();
    let range = |values: Vec<f64>, is_log: bool| {
        let low = values.iter().copied().fold(f64::INFINITY, f64::min).min(1e9);
        let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max).max(low + 1e-6);
        if is_log { (low - 0.1)..(high + 0.1) } else { 0.0..high * 1.08 }
    };
    let across = range(all.iter().map(|point| point.0).collect(), axes.is_log_x);
    let up = range(all.iter().map(|point| point.1).collect(), axes.is_log_y);
    let label = |value: &f64, is_log: bool| {
        let value = if is_log { 10f64.powf(*value) } else { *value };
        let is_whole = value >= 10.0 || (value - value.round()).abs() < 1e-6;
        if is_whole { format!("{value:.0}") } else { number(value) }
    };
    let mut chart = ChartBuilder::on(area)
        .caption(axes.heading, (FONT, 19).into_font().color(&INK))
        .margin(10)
        .x_label_area_size(40)
        .y_label_area_size(64)
        .build_cartesian_2d(across, up)
        .map_err(failed)?;
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .bold_line_style(PALE)
        .axis_style(INK)
        .label_style((FONT, 16).into_font().color(&INK))
        .x_labels(6)
        .y_labels(7)
        .x_desc(axes.x)
        .y_desc(axes.y)
        .x_label_formatter(&|value| label(value, axes.is_log_x))
        .y_label_formatter(&|value| label(value, axes.is_log_y))
        .draw()
        .map_err(failed)?;
    for line in lines {
        let style = colour(&line.peer).stroke_width(if is_ours(&line.peer) { 3 } else { 2 });
        let points = line.points.iter().map(point);
        let series = LineSeries::new(points, style).point_size(3);
        chart.draw_series(series).map_err(failed)?;
    }
    Ok(())
}

/// Each peer keeps its colour through all plots.
fn colour(peer: &str) -> RGBColor {
    match peer {
        "node" => RGBColor(60, 60, 60),
        "cluster" => RGBColor(148, 120, 40),
        "pm2" => RGBColor(170, 68, 153),
        "nginx" => RGBColor(0, 158, 115),
        "haproxy" => RGBColor(230, 159, 0),
        "passenger" => RGBColor(213, 94, 0),
        "uring" => RGBColor(0, 114, 178),
        "epoll" => RGBColor(86, 180, 233),
        "uring-http" => RGBColor(204, 121, 167),
        _ => OTHERS,
    }
}
