//! What the fake camera shows and the fake microphone hears: pictures and a sound that can be recognized after
//! decoding.
//!
//! The picture has four color patches (one a quadrant), a bar code of the frame's number across the middle, and a
//! moving texture at the bottom that gives the encoder work. The sound is a loud 1000 Hz tone over two quiet ones.
//! The formats are YUV4MPEG2 (4:2:0, limited range) and 16-bit PCM WAV; Chromium plays both in a loop.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// Frames a second in every file.
pub const FRAME_RATE: u32 = 30;

/// Frames in a file; the bar code starts anew with each loop.
pub const FRAMES: u32 = 120; // four seconds: longer than any freeze that is tolerated

/// Cells of the bar code: one white and one black guard, then eight bits, the highest first.
pub const BAR_CELLS: u32 = 10;

/// The loud tone's frequency in hertz.
pub const TONE_HZ: f64 = 1000.0;

const SAMPLE_RATE: u32 = 48_000; // Opus' own rate, so that nothing resamples
const SECONDS_OF_SOUND: u32 = 2; // whole periods of every tone: the loop has no click
const QUIET_TONES_HZ: [f64; 2] = [440.0, 3000.0];

/// A color as the y4m stores it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Yuv(u8, u8, u8);

/// Which colors the four patches have, so that browsers can be told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Palette {
    /// Red, green, blue, yellow: what the tests compare.
    Primary,
    /// Teal, coral, violet, sand.
    Sea,
    /// Orange, plum, olive, sky.
    Field,
}

impl Palette {
    /// The patches: top left, top right, bottom left, bottom right.
    pub const fn patches(self) -> [Yuv; 4] {
        match self {
            Self::Primary => [Yuv(90, 110, 190), Yuv(130, 90, 80), Yuv(70, 190, 115), Yuv(180, 60, 145)],
            Self::Sea => [Yuv(120, 150, 80), Yuv(150, 105, 175), Yuv(95, 170, 150), Yuv(190, 105, 140)],
            Self::Field => [Yuv(150, 70, 180), Yuv(85, 140, 160), Yuv(130, 95, 120), Yuv(165, 160, 100)],
        }
    }

    /// The patches as a browser should paint them: BT.601, limited range.
    pub fn patches_rgb(self) -> [[u8; 3]; 4] {
        self.patches().map(Yuv::rgb)
    }
}

impl Yuv {
    fn rgb(self) -> [u8; 3] {
        let y = 1.164 * (f64::from(self.0) - 16.0);
        let (u, v) = (f64::from(self.1) - 128.0, f64::from(self.2) - 128.0);
        [y + 1.596 * v, y - 0.392 * u - 0.813 * v, y + 2.017 * u]
            .map(|channel| channel.clamp(0.0, 255.0) as u8)
    }
}

/// How much there is to encode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// Little but the moving texture at the bottom: cheap for encoders, and exact colors.
    Calm,
    /// Everything but the bar code moves and has grain, as from a sensor in a dim room: an encoder can use any rate.
    Rich,
}

/// A camera's picture: its size, colors and detail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Camera {
    /// Width in pixels, a multiple of 16.
    pub width: u32,
    /// Height in pixels, a multiple of 2.
    pub height: u32,
    /// The colors of its patches.
    pub palette: Palette,
    /// How much there is to encode.
    pub detail: Detail,
}

impl Camera {
    /// 640×360, the size of most tests: cheap enough for three participants on two cores.
    pub const SMALL: Self = Self { width: 640, height: 360, palette: Palette::Primary, detail: Detail::Calm };
    /// 1280×720, where all three simulcast layers differ much.
    pub const LARGE: Self = Self { width: 1280, height: 720, ..Self::SMALL };

    /// Writes the camera's film into `folder` unless it is there already, and says where.
    pub fn file(self, folder: &Path) -> io::Result<PathBuf> {
        let Self { width, height, palette, detail } = self;
        let path = folder.join(format!("camera-{width}x{height}-{palette:?}-{detail:?}.y4m"));
        if !path.exists() {
            let part = path.with_extension("part");
            self.write(BufWriter::new(File::create(&part)?))?;
            std::fs::rename(&part, &path)?; // a file cut short by Ctrl-C is never taken for a whole one
        }
        Ok(path)
    }

    fn write(self, mut out: impl Write) -> io::Result<()> {
        writeln!(out, "YUV4MPEG2 W{} H{} F{FRAME_RATE}:1 Ip A1:1 C420jpeg", self.width, self.height)?;
        for number in 0..FRAMES {
            out.write_all(b"FRAME\n")?;
            out.write_all(&self.frame(number))?;
        }
        out.flush()
    }

    /// One picture: the luma plane, then both chroma planes at half the size.
    fn frame(self, number: u32) -> Vec<u8> {
        let (width, height) = (self.width, self.height);
        let mut planes = Vec::with_capacity((width * height * 3 / 2) as usize);
        for y in 0..height {
            planes.extend((0..width).map(|x| self.color_at(x, y, number).0));
        }
        for plane in [|color: Yuv| color.1, |color: Yuv| color.2] {
            for y in (0..height).step_by(2) {
                planes.extend((0..width).step_by(2).map(|x| plane(self.color_at(x, y, number))));
            }
        }
        planes
    }

    fn color_at(self, x: u32, y: u32, number: u32) -> Yuv {
        let (width, height) = (self.width, self.height);
        let (row, bar_row) = (y * 18 / height, 8..10); // the bar code is a ninth of the height, in the middle
        if bar_row.contains(&row) {
            let cell = x * BAR_CELLS / width;
            return if bar_is_white(cell, number) { Yuv(225, 128, 128) } else { Yuv(25, 128, 128) };
        }
        let shown = match row {
            15.. => texture(x + number * width / 160, y, height),
            _ => self.palette.patches()[usize::from(row >= 9) * 2 + usize::from(x >= width / 2)],
        };
        match self.detail {
            Detail::Calm => shown,
            Detail::Rich => rich(shown, (x, y), number, height),
        }
    }
}

fn bar_is_white(cell: u32, number: u32) -> bool {
    match cell {
        0 => true,
        1 => false,
        bit => number >> (9 - bit) & 1 == 1,
    }
}

/// Gray blocks without a pattern, moving to the left as `x` grows.
fn texture(x: u32, y: u32, height: u32) -> Yuv {
    let block = (height / 60).max(1);
    let (column, row) = (x / block, y / block);
    let hash = (column.wrapping_mul(0x9e37_79b1) ^ row.wrapping_mul(0x85eb_ca77)).wrapping_mul(0xc2b2_ae3d);
    Yuv(60 + (hash >> 25) as u8, 128, 128)
}

/// A color with blocks that move up slowly, and with grain that differs from frame to frame.
fn rich(Yuv(luma, u, v): Yuv, (x, y): (u32, u32), number: u32, height: u32) -> Yuv {
    let block = texture(x, y + number * height / 360, height).0 / 4;
    let grain = hash(x / 2, (y / 2).wrapping_add(number << 16)) >> 28; // 0 to 15, two pixels large
    Yuv(luma.saturating_add(block).saturating_add(grain as u8).saturating_sub(38), u, v)
}

fn hash(x: u32, y: u32) -> u32 {
    let mixed = x.wrapping_mul(0x9e37_79b1) ^ y.wrapping_mul(0x85eb_ca77);
    (mixed ^ mixed >> 15).wrapping_mul(0xc2b2_ae3d)
}

/// Writes the microphone's sound into `folder` unless it is there already, and says where.
pub fn microphone(folder: &Path) -> io::Result<PathBuf> {
    let path = folder.join("microphone.wav");
    if !path.exists() {
        let mut out = BufWriter::new(File::create(&path)?);
        let bytes = SAMPLE_RATE * SECONDS_OF_SOUND * 2;
        out.write_all(b"RIFF")?;
        out.write_all(&(36 + bytes).to_le_bytes())?;
        out.write_all(b"WAVEfmt \x10\0\0\0\x01\0\x01\0")?; // 16 bytes of format: PCM, one channel
        out.write_all(&SAMPLE_RATE.to_le_bytes())?;
        out.write_all(&(SAMPLE_RATE * 2).to_le_bytes())?;
        out.write_all(b"\x02\0\x10\0data")?; // 2 bytes a sample, 16 bits
        out.write_all(&bytes.to_le_bytes())?;
        for index in 0..SAMPLE_RATE * SECONDS_OF_SOUND {
            out.write_all(&sample(index).to_le_bytes())?;
        }
        out.flush()?;
    }
    Ok(path)
}

fn sample(index: u32) -> i16 {
    let seconds = f64::from(index) / f64::from(SAMPLE_RATE);
    let wave = |hertz: f64| (hertz * seconds * std::f64::consts::TAU).sin();
    let quiet: f64 = QUIET_TONES_HZ.iter().map(|&hertz| 0.01 * wave(hertz)).sum();
    ((0.4 * wave(TONE_HZ) + quiet) * f64::from(i16::MAX)) as i16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_holds_its_patches_and_its_number() {
        let camera = Camera { width: 160, height: 90, ..Camera::SMALL };
        let frame = camera.frame(0b0101_1010);
        assert_eq!(frame.len(), 160 * 90 * 3 / 2);
        let luma = |x: usize, y: usize| frame[y * 160 + x];
        let patches = Palette::Primary.patches();
        assert_eq!([luma(40, 20), luma(120, 20), luma(40, 60), luma(120, 60)], patches.map(|patch| patch.0));
        let bits: Vec<bool> = (0..10).map(|cell| luma(cell * 16 + 8, 44) > 128).collect();
        assert_eq!(bits, [true, false, false, true, false, true, true, false, true, false]);
    }

    #[test]
    fn a_rich_frame_has_the_same_bar_code_and_shares_little_with_the_next() {
        let calm = Camera { width: 160, height: 90, ..Camera::SMALL };
        let rich = Camera { detail: Detail::Rich, ..calm };
        let (one, next) = (rich.frame(7), rich.frame(8));
        let bars = 41 * 160..49 * 160;
        assert_eq!(one[bars.clone()], calm.frame(7)[bars]);
        let luma = 0..160 * 90;
        let same = |a: &[u8], b: &[u8]| luma.clone().filter(|&place| a[place] == b[place]).count();
        assert!(same(&one, &next) < 160 * 90 / 3, "{} of {}", same(&one, &next), 160 * 90);
        assert!(same(&calm.frame(7), &calm.frame(8)) > 160 * 90 * 3 / 5);
    }

    #[test]
    fn the_patches_look_different_from_each_other() {
        for palette in [Palette::Primary, Palette::Sea, Palette::Field] {
            let colors = palette.patches_rgb();
            for (index, one) in colors.iter().enumerate() {
                for other in &colors[index + 1..] {
                    let distance = one.iter().zip(other).map(|(a, b)| a.abs_diff(*b)).max();
                    assert!(distance > Some(60), "{palette:?}: {one:?} and {other:?}");
                }
            }
        }
    }

    #[test]
    fn the_sound_loops_without_a_click() {
        assert_eq!(sample(0), 0);
        assert!(sample(SAMPLE_RATE * SECONDS_OF_SOUND).abs() <= 1);
        assert!((0..SAMPLE_RATE).map(|index| sample(index).unsigned_abs()).max() > Some(13_000));
    }
}
