//! The optimum: the room as an integer program, solved by Debian's `coinor-cbc`, which is run as a program.
//!
//! In: a [`Room`]. Out: the best that the solver found and the best that it could not exclude. Limit: the time that the caller grants.
//!
//! Binary `y` says that a source sends a tier, binary `x` that a pair is given a point: at most what is sent, one point each,
//! no more than paths, encoders and devices carry.

use std::fmt::Write as _;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use super::room::Room;

/// It may stop this close to what it has not excluded.
const NEAR: f64 = 0.0005;

/// What the solver found.
#[derive(Debug, Clone, Copy)]
pub(super) struct Optimum {
    /// The best plan that it has is worth so much.
    pub(super) found: f64,
    /// None is worth more.
    pub(super) bound: f64,
}

/// Solves, in so many seconds at most.
pub(super) fn solve(room: &Room, seconds: u32) -> Result<Optimum> {
    if room.pairs.is_empty() {
        return Ok(Optimum { found: 0.0, bound: 0.0 });
    }
    let folder = tempfile::tempdir()?;
    let (program, solution) = (folder.path().join("room.lp"), folder.path().join("room.sol"));
    std::fs::write(&program, lines(room)?)?;
    let seconds = seconds.to_string();
    let near = NEAR.to_string();
    // Its time is the clock's; by itself it counts the processor's.
    let output = Command::new("cbc")
        .arg(&program)
        .args(["timeMode", "elapsed", "seconds", &seconds, "ratioGap", &near, "solve", "solution"])
        .arg(&solution)
        .stdin(Stdio::null())
        .output()
        .context("running cbc")?;
    ensure!(output.status.success(), "cbc ended with {}", output.status);
    read(&String::from_utf8_lossy(&output.stdout))
}

/// The program in CPLEX's LP format; a minimum, as the solver reports these without turning signs.
fn lines(room: &Room) -> Result<String> {
    let mut text = String::from("Minimize\n obj:");
    for (pair, of) in room.pairs.iter().enumerate() {
        for (point, worth) in of.worth.iter().enumerate() {
            write!(text, " - {worth:.9} x{pair}_{point}\n ")?;
        }
    }
    text.push_str("\nSubject To\n");
    for (pair, of) in room.pairs.iter().enumerate() {
        let points = &room.feeds[of.feed].points;
        row(&mut text, (0..points.len()).map(|point| (1.0, format!("x{pair}_{point}"))), "= 1")?;
        for tier in 0..room.feeds[of.feed].rates.len() {
            let own = (0..points.len()).filter(|point| points[*point].tier == tier);
            let own = own.map(|point| (1.0, format!("x{pair}_{point}")));
            row(&mut text, own.chain([(-1.0, format!("y{}_{tier}", of.feed))]), "<= 0")?;
        }
    }
    publishers(room, &mut text)?;
    viewers(room, &mut text)?;
    text.push_str("Binary\n");
    for (feed, of) in room.feeds.iter().enumerate() {
        (0..of.rates.len()).try_for_each(|tier| writeln!(text, " y{feed}_{tier}"))?;
    }
    for (pair, of) in room.pairs.iter().enumerate() {
        (0..of.worth.len()).try_for_each(|point| writeln!(text, " x{pair}_{point}"))?;
    }
    text.push_str("End\n");
    Ok(text)
}

fn publishers(room: &Room, text: &mut String) -> Result<()> {
    for (publisher, limits) in room.publishers.iter().enumerate() {
        let own = || room.feeds.iter().enumerate().filter(move |(_, feed)| feed.publisher == publisher);
        let tiers =
            |(feed, of): (usize, &super::room::Feed)| (0..of.rates.len()).map(move |tier| (feed, tier));
        let sent: Vec<(usize, usize)> = own().flat_map(tiers).collect();
        let rate =
            sent.iter().map(|(feed, tier)| (room.feeds[*feed].rates[*tier], format!("y{feed}_{tier}")));
        row(text, rate, &format!("<= {:.9}", limits.rate))?;
        if limits.pixels.is_finite() {
            let pixels =
                sent.iter().map(|(feed, tier)| (room.feeds[*feed].pixels[*tier], format!("y{feed}_{tier}")));
            row(text, pixels, &format!("<= {:.9}", limits.pixels))?;
        }
        for (feed, of) in own() {
            let all = (0..of.rates.len()).map(|tier| (1.0, format!("y{feed}_{tier}")));
            row(text, all, &format!("<= {}", of.streams))?;
        }
    }
    Ok(())
}

fn viewers(room: &Room, text: &mut String) -> Result<()> {
    for (viewer, limits) in room.viewers.iter().enumerate() {
        let own = || room.pairs.iter().enumerate().filter(move |(_, pair)| pair.viewer == viewer);
        if own().next().is_none() {
            continue;
        }
        let points = || {
            own().flat_map(|(pair, of)| {
                room.feeds[of.feed].points.iter().enumerate().map(move |(at, point)| (pair, at, point))
            })
        };
        row(
            text,
            points().map(|(pair, at, point)| (point.rate, format!("x{pair}_{at}"))),
            &format!("<= {:.9}", limits.rate),
        )?;
        if limits.pixels.is_finite() {
            let pixels = points().map(|(pair, at, point)| (point.pixels, format!("x{pair}_{at}")));
            row(text, pixels, &format!("<= {:.9}", limits.pixels))?;
        }
    }
    Ok(())
}

/// One constraint, a term a line: lines of the format are short.
fn row(text: &mut String, terms: impl Iterator<Item = (f64, String)>, limit: &str) -> Result<()> {
    for (factor, name) in terms {
        let sign = if factor < 0.0 { '-' } else { '+' };
        write!(text, " {sign} {:.9} {name}\n ", factor.abs())?;
    }
    writeln!(text, " {limit}")?;
    Ok(())
}

/// What the solver prints at its end.
fn read(printed: &str) -> Result<Optimum> {
    let number = |name: &str| {
        let line = printed.lines().rev().find(|line| line.trim_start().starts_with(name))?;
        line.rsplit(':').next()?.trim().parse::<f64>().ok()
    };
    let Some(found) = number("Objective value:") else {
        bail!(
            "cbc has no solution: {}",
            printed.lines().filter(|line| line.starts_with("Result")).collect::<String>()
        )
    };
    // It states a bound only where it stopped before proof.
    let bound = number("Lower bound:").unwrap_or(found);
    Ok(Optimum { found: -found, bound: (-bound).max(-found) })
}
