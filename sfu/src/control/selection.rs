//! Selection: which simulcast layer suits a tile. Pure.

/// What is known of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LayerState {
    /// Width and height in pixels; `None` if neither its publisher nor a key frame has said.
    pub size: Option<(u32, u32)>,
    /// Whether its publisher sends it now.
    pub alive: bool,
}

/// How large a picture is seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum View {
    /// Not at all.
    Hidden,
    /// In so many device pixels.
    Size(u32, u32),
}

/// The size assumed until a viewer states a layout: a medium layer, quick to come and fair to look at.
pub const VIEW_BEFORE_LAYOUT: View = View::Size(640, 360);

/// The layer nearest in size to `view`, among those that are sent; `None` if the picture is hidden or there is no layer.
///
/// Nearness is the ratio of areas, so half and double are equally far; at a tie the larger one is taken, which is the
/// safer error to the eye. While no layer is alive the choice is made among all: whichever returns.
pub fn choose_layer(view: View, layers: &[LayerState]) -> Option<usize> {
    let View::Size(width, height) = view else { return None };
    let wanted = u64::from(width.max(1)) * u64::from(height.max(1));
    let any_alive = layers.iter().any(|layer| layer.alive);
    let candidates = layers.iter().enumerate().filter(|(_, layer)| layer.alive || !any_alive);
    candidates.min_by_key(|(_, layer)| distance(wanted, layer.size)).map(|(index, _)| index)
}

/// The ratio of areas in thousandths, at least 1000; smaller ones count a little more, layers of unknown size most.
fn distance(wanted: u64, size: Option<(u32, u32)>) -> (u64, bool) {
    let Some((width, height)) = size else { return (u64::MAX, true) };
    let area = (u64::from(width) * u64::from(height)).max(1);
    (wanted.max(area).saturating_mul(1_000) / wanted.min(area), area < wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn layer(width: u32, height: u32, alive: bool) -> LayerState {
        LayerState { size: Some((width, height)), alive }
    }

    #[test]
    fn the_nearest_living_layer_is_chosen() {
        let all = [layer(1280, 720, true), layer(640, 360, true), layer(320, 180, true)];
        let top_off = [layer(1280, 720, false), layer(640, 360, true), layer(320, 180, true)];
        let none = [layer(1280, 720, false), layer(640, 360, false)];
        for (claim, view, layers, expected) in [
            ("exact", View::Size(640, 360), &all[..], Some(1)),
            ("a phone's corner", View::Size(160, 90), &all[..], Some(2)),
            ("a large screen", View::Size(2560, 1440), &all[..], Some(0)),
            ("between two: the larger at a tie", View::Size(640, 720), &all[..], Some(0)),
            ("the wanted one is not sent", View::Size(1280, 720), &top_off[..], Some(1)),
            ("nothing is sent", View::Size(640, 360), &none[..], Some(1)),
            ("out of sight", View::Hidden, &all[..], None),
            ("nothing there", View::Size(640, 360), &[][..], None),
        ] {
            assert_eq!(choose_layer(view, layers), expected, "{claim}");
        }
    }

    #[test]
    fn unknown_sizes_come_last_but_do_come() {
        let unknown = LayerState { size: None, alive: true };
        assert_eq!(choose_layer(View::Size(640, 360), &[unknown, layer(160, 90, true)]), Some(1));
        assert_eq!(choose_layer(View::Size(640, 360), &[unknown]), Some(0));
    }
}
