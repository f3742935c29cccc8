//! How the pages look: the operator's name, logo and colour, made safe to show and fit to read.
//!
//! Promise: text on the operator's colour, and text in it, has a contrast of at least 4.5 to 1 (WCAG 2.2, 1.4.3) in
//! light and in dark. A logo is only ever shown by `<img>`, where an SVG runs no script and loads nothing.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::config::model::Brand;
use crate::files;
use crate::reason::{Failure, Reason};

/// Largest logo, in bytes: it is part of every page.
const LOGO_BYTES: u64 = 256 * 1024;
/// The door's own colour.
const DEFAULT_COLOR: Rgb = Rgb([0x0e, 0x5c, 0x4f]);
/// The card's colour in light and in dark, as in `colors.css`.
const CARD: [Rgb; 2] = [Rgb([0xff, 0xff, 0xff]), Rgb([0x1c, 0x1f, 0x1c])];

/// What every page shows.
#[derive(Debug, Default)]
pub(crate) struct Look {
    pub(crate) name: String,
    /// `data:` URI.
    pub(crate) logo: String,
    /// `data:` URI.
    pub(crate) icon: String,
    /// The one style sheet; its hash stands in the Content-Security-Policy.
    pub(crate) style: String,
    pub(super) support: Option<String>,
    /// What opened the way in, where nobody signs in but by that: every page then says so.
    pub(super) restore: Option<String>,
}

impl Look {
    pub(super) fn new(brand: &Brand) -> Result<Look, Failure> {
        Look::dressed(brand, include_str!("templates/style.css"))
    }

    /// The same for pages with a style sheet of their own, which has the colours all the same.
    pub(crate) fn dressed(brand: &Brand, css: &str) -> Result<Look, Failure> {
        let color = match &brand.color {
            Some(color) => Rgb::parse(&color.to_string())
                .ok_or_else(|| Failure::new(Reason::ConfigInvalid, format!("`brand.color`: {color} is no colour")))?,
            None => DEFAULT_COLOR,
        };
        let mark = data_uri("image/svg+xml", mark(color).as_bytes());
        let logo = brand.logo_file.as_deref().map(read_logo).transpose()?;
        Ok(Look {
            name: brand.name.clone().filter(|name| !name.trim().is_empty()).unwrap_or_else(|| "Doorward".to_owned()),
            icon: logo.clone().unwrap_or_else(|| mark.clone()),
            logo: logo.unwrap_or(mark),
            style: style(color, css),
            restore: None,
            support: brand.support.clone().filter(|line| !line.trim().is_empty()),
        })
    }
}

/// The style sheet in the operator's colour. Nothing but six hexadecimal digits gets into it.
fn style(brand: Rgb, css: &str) -> String {
    let [light, dark] = CARD;
    format!(
        ":root{{--brand:{brand};--on-brand:{};--link:{};--link-dark:{};--edge:{};--edge-dark:{}}}\n{}{css}",
        brand.text_on(),
        brand.readable_on(light, 4.5),
        brand.readable_on(dark, 4.5),
        brand.readable_on(light, 3.0),
        brand.readable_on(dark, 3.0),
        include_str!("templates/colors.css"),
    )
}

/// Doorward's mark: a door ajar, and the light behind it.
fn mark(brand: Rgb) -> String {
    let door = brand.text_on();
    // Amber, unless the operator's colour is so light that it would not be seen.
    let light = if door == Rgb::WHITE { Rgb([0xf4, 0xbf, 0x5a]) } else { Rgb::WHITE };
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 40 40\" width=\"40\" height=\"40\">\
         <rect width=\"40\" height=\"40\" rx=\"10\" fill=\"{brand}\"/>\
         <path d=\"M21 33V8h8v25z\" fill=\"{light}\"/>\
         <path d=\"M10 33V9a2 2 0 0 1 2-2h16a2 2 0 0 1 2 2v24\" fill=\"none\" stroke=\"{door}\" stroke-width=\"2\" stroke-linecap=\"round\"/>\
         <path d=\"M10 7.5l12 4v24.5l-12-3z\" fill=\"{door}\"/>\
         <circle cx=\"18.6\" cy=\"23.6\" r=\"1.5\" fill=\"{brand}\"/>\
         </svg>"
    )
}

fn data_uri(kind: &str, bytes: &[u8]) -> String {
    format!("data:{kind};base64,{}", STANDARD.encode(bytes))
}

fn read_logo(path: &Path) -> Result<String, Failure> {
    let wrong =
        |what: &str| Failure::new(Reason::ConfigInvalid, format!("`brand.logo_file` {}: {what}", path.display()));
    let bytes = files::read(path, LOGO_BYTES).map_err(|error| wrong(&error.to_string()))?;
    let kind = image_type(&bytes).ok_or_else(|| wrong("none of SVG, PNG, JPEG and WebP"))?;
    Ok(data_uri(kind, &bytes))
}

/// The type by content: a name can say anything.
fn image_type(bytes: &[u8]) -> Option<&'static str> {
    if bytes.starts_with(b"\x89PNG\r\n\x1a\n") {
        return Some("image/png");
    }
    if bytes.starts_with(b"\xff\xd8\xff") {
        return Some("image/jpeg");
    }
    if bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WEBP") {
        return Some("image/webp");
    }
    let text = std::str::from_utf8(bytes).ok()?.trim_start_matches('\u{feff}').trim_start();
    let is_svg = text.starts_with("<svg")
        || (["<?xml", "<!--", "<!DOCTYPE svg"].iter().any(|start| text.starts_with(start)) && text.contains("<svg"));
    is_svg.then_some("image/svg+xml")
}

/// A colour in sRGB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Rgb([u8; 3]);

impl Rgb {
    const WHITE: Rgb = Rgb([255; 3]);
    const BLACK: Rgb = Rgb([0; 3]);

    fn parse(text: &str) -> Option<Rgb> {
        let hex = text.strip_prefix('#').filter(|hex| hex.len() == 6 && hex.is_ascii())?;
        let channel = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).ok();
        Some(Rgb([channel(0)?, channel(2)?, channel(4)?]))
    }

    /// Relative luminance (WCAG 2.2).
    fn luminance(self) -> f64 {
        let [r, g, b] = self.0.map(|channel| {
            let c = f64::from(channel) / 255.0;
            if c <= 0.04045 { c / 12.92 } else { ((c + 0.055) / 1.055).powf(2.4) }
        });
        0.2126 * r + 0.7152 * g + 0.0722 * b
    }

    fn contrast(self, other: Rgb) -> f64 {
        let (a, b) = (self.luminance() + 0.05, other.luminance() + 0.05);
        if a > b { a / b } else { b / a }
    }

    /// White or black, whichever reads better with white preferred. One of them always has 4.58 or more.
    fn text_on(self) -> Rgb {
        if self.contrast(Rgb::WHITE) >= 4.5 { Rgb::WHITE } else { Rgb::BLACK }
    }

    /// This colour, moved toward black or white until it stands out from `ground` by `wanted`.
    fn readable_on(self, ground: Rgb, wanted: f64) -> Rgb {
        let end = ground.text_on();
        let steps = (0..=20).map(|step| self.mixed(end, f64::from(step) / 20.0));
        steps.into_iter().find(|mixed| mixed.contrast(ground) >= wanted).unwrap_or(end)
    }

    fn mixed(self, other: Rgb, share: f64) -> Rgb {
        let mix = |a: u8, b: u8| (f64::from(a) + (f64::from(b) - f64::from(a)) * share).round() as u8;
        Rgb([mix(self.0[0], other.0[0]), mix(self.0[1], other.0[1]), mix(self.0[2], other.0[2])])
    }
}

impl std::fmt::Display for Rgb {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [r, g, b] = self.0;
        write!(f, "#{r:02x}{g:02x}{b:02x}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_colour_is_readable_in_light_and_dark() {
        let levels = [0, 51, 102, 118, 119, 153, 204, 255];
        for r in levels {
            for g in levels {
                for b in levels {
                    let color = Rgb([r, g, b]);
                    assert!(color.contrast(color.text_on()) >= 4.5, "text on {color}");
                    for ground in CARD {
                        assert!(color.readable_on(ground, 4.5).contrast(ground) >= 4.5, "{color} on {ground}");
                    }
                }
            }
        }
    }

    #[test]
    fn the_cards_colours_are_those_of_the_style_sheet_and_its_texts_are_readable() {
        let css = include_str!("templates/colors.css");
        let values = |name: &str| -> Vec<Rgb> {
            css.match_indices(&format!("--{name}:#"))
                .map(|(at, found)| Rgb::parse(&css[at + found.len() - 1..at + found.len() + 6]).expect("colour"))
                .collect()
        };
        assert_eq!(values("card"), CARD);
        for text in ["text", "quiet"] {
            for ground in ["page", "card", "tint"] {
                for (text, ground) in values(text).into_iter().zip(values(ground)) {
                    assert!(text.contrast(ground) >= 4.5, "{text} on {ground}: {}", text.contrast(ground));
                }
            }
        }
    }

    #[test]
    fn a_logo_is_known_by_its_content() {
        for (bytes, kind) in [
            (&b"\x89PNG\r\n\x1a\n...."[..], Some("image/png")),
            (b"\xff\xd8\xff\xe0", Some("image/jpeg")),
            (b"RIFF\0\0\0\0WEBPVP8 ", Some("image/webp")),
            (b"\xef\xbb\xbf<?xml version=\"1.0\"?>\n<svg xmlns='x'/>", Some("image/svg+xml")),
            (b"  <svg/>", Some("image/svg+xml")),
            (b"<html><svg/></html>", None),
            (b"<?xml version=\"1.0\"?><html/>", None),
            (b"GIF89a", None),
            (b"", None),
        ] {
            assert_eq!(image_type(bytes), kind, "{bytes:?}");
        }
    }

    #[test]
    fn a_logo_that_cannot_be_used_is_named() {
        let folder = tempfile::tempdir().expect("folder");
        let look = |bytes: Option<&[u8]>| {
            let path = folder.path().join("logo.svg");
            let _ = std::fs::remove_file(&path);
            if let Some(bytes) = bytes {
                std::fs::write(&path, bytes).expect("file");
            }
            Look::new(&Brand { logo_file: Some(path), ..Brand::default() })
        };
        assert!(look(Some(b"<svg/>")).expect("logo").logo.starts_with("data:image/svg+xml;base64,"));
        for bytes in [None, Some(&b"text"[..]), Some(&[b' '; 256 * 1024 + 1])] {
            let failure = look(bytes).expect_err("unusable");
            assert_eq!(failure.reason, Reason::ConfigInvalid);
            assert!(failure.detail.contains("brand.logo_file"), "{failure}");
        }
    }
}
