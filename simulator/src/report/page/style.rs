//! How the page looks.

use std::fmt::Write as _;

use crate::report::plot::{ADAPTED, GRID, hex};

/// The style sheet. What plots draw in the marks' colors takes the page's own, so that they suit dark screens too.
pub(super) fn sheet() -> String {
    let mut sheet = SHEET.to_owned();
    for (color, name) in ADAPTED.into_iter().chain([(GRID, "--grid")]) {
        let color = hex(color);
        let _ = writeln!(
            sheet,
            "svg [fill=\"{color}\"]{{fill:var({name})}}svg [stroke=\"{color}\"]{{stroke:var({name})}}"
        );
    }
    sheet
}

const SHEET: &str = r#"
:root{color-scheme:light dark;--paper:#fff;--card:#f6f7f9;--ink:#1c2026;--soft:#4c545f;--faint:#6b7480;--grid:#e1e4e8;--line:#d5dae0;--accent:#0b63a5;--best:#dff1e6;--bestink:#0d5b34;--alarm:#b3152f;--blue:#0072b2;--violet:#7a5cc9}
@media(prefers-color-scheme:dark){:root{--paper:#14171b;--card:#1d2127;--ink:#eceff3;--soft:#b4bcc7;--faint:#8d96a3;--grid:#2d333b;--line:#363d46;--accent:#6db8f2;--best:#153f2a;--bestink:#8fe3b4;--alarm:#ff8494;--blue:#3d9fe0;--violet:#a48cec}}
*{box-sizing:border-box}
html{scroll-behavior:smooth;-webkit-text-size-adjust:100%}
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans",sans-serif}
header,main,footer{max-width:1028px;margin:0 auto;padding:0 24px}
header{padding-top:40px}
.kicker{margin:0;color:var(--faint);font-size:13px;letter-spacing:.06em;text-transform:uppercase}
h1{margin:4px 0 8px;font-size:30px;line-height:1.2;letter-spacing:-.01em;text-wrap:balance}
h2{margin:48px 0 8px;font-size:21px;line-height:1.3}
h3{margin:40px 0 4px;font-size:18px;line-height:1.3}
h4{margin:0;font-size:15px;font-weight:600}
p{margin:8px 0}
a{color:var(--accent);text-decoration:none}a:hover{text-decoration:underline}
code{font:13px/1.4 ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace;overflow-wrap:anywhere}
.about{max-width:68ch;color:var(--soft);font-size:17px}
.note,.replay{color:var(--faint);font-size:14px;max-width:78ch}
.command{margin:16px 0 0;padding:10px 14px;background:var(--card);border-radius:8px}
.command code::before{content:"$ ";color:var(--faint)}
dl{margin:0}dt{color:var(--faint);font-size:13px}dd{margin:0}
.parameters{display:flex;flex-wrap:wrap;gap:8px 32px;margin:16px 0 0}
.parameters dd{font-size:15px;overflow-wrap:anywhere}
nav{display:flex;flex-wrap:wrap;gap:4px 20px;margin-top:24px;padding-bottom:12px;border-bottom:1px solid var(--line);font-size:15px}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(132px,1fr));gap:12px;margin:28px 0 0;padding:0;list-style:none}
.tiles li{display:flex;flex-direction:column;padding:12px 14px;background:var(--card);border-radius:10px}
.tiles .value{font-size:23px;line-height:1.2;font-weight:600;font-variant-numeric:tabular-nums;white-space:nowrap}
.tiles .unit{margin-left:4px;font-size:13px;font-weight:400;color:var(--faint)}
.tiles .name,.tiles .worst{color:var(--faint);font-size:13px}
.wide{width:min(1320px,calc(100vw - 48px));margin-left:50%;transform:translateX(-50%)}
.scroll{overflow-x:auto;-webkit-overflow-scrolling:touch}
table{border-collapse:collapse;font-size:14px;font-variant-numeric:tabular-nums;white-space:nowrap}
th,td{padding:5px 10px;text-align:right;border-bottom:1px solid var(--grid)}
.word{text-align:left}
tbody th{font-weight:400}
thead th{vertical-align:bottom;color:var(--faint);font-weight:500;font-size:13px;border-bottom:1px solid var(--line)}
thead .unit{display:block;font-weight:400}
.results{width:100%}
.results thead th{white-space:normal;line-height:1.25}
.results th:first-child{position:sticky;left:0;background:var(--paper)}
.results .case th{padding-top:18px;font-weight:600;border-bottom-color:var(--line)}
.seeds{margin-left:12px;color:var(--faint);font-weight:400;font-size:13px}
td.worst{color:var(--faint)}
td.best,strong.best{background:var(--best);color:var(--bestink);font-weight:600}
strong.best{padding:1px 6px;border-radius:4px}
td.broken{color:var(--alarm);font-weight:600}
details{margin-top:12px}
summary{cursor:pointer;font-weight:600;padding:6px 0}
.metrics{margin-top:20px}.metrics summary{color:var(--soft);font-size:15px}
.metrics td.word:last-child{white-space:normal;color:var(--soft);min-width:260px}
figure{margin:28px 0 0}
figcaption{display:flex;flex-wrap:wrap;align-items:baseline;gap:4px 24px;margin-bottom:6px}
figcaption h2{margin:20px 0 0}
.legend{display:flex;flex-wrap:wrap;gap:2px 16px;margin:0;padding:0;list-style:none;color:var(--soft);font-size:13px}
.legend li{display:flex;align-items:center;gap:6px}
.swatch{flex:none;width:18px;height:0;border-top:3px solid var(--color)}
.swatch.dashes{border-top:2px dashed var(--color)}
.swatch.dot{width:9px;height:9px;border:0;border-radius:50%;background:var(--color)}
.swatch.area{width:13px;height:13px;border:0;border-radius:3px;background:var(--color);opacity:.8}
.reasons{margin-top:8px;font-size:13px;color:var(--soft)}
.reasons ul{display:flex;flex-wrap:wrap;gap:4px 20px;margin:0;padding:0;list-style:none}
.reasons .count{font-weight:600;font-variant-numeric:tabular-nums;color:var(--ink)}
.reasons .why{margin-left:6px;color:var(--faint)}
.reasons .why::before{content:"· "}
.reasons summary{font-size:13px;font-weight:500}
.reasons .list{max-height:320px;overflow-y:auto}
svg text{font-family:inherit}
svg{display:block;width:100%;height:auto;max-width:var(--width)}
.scroll svg{min-width:min(var(--width),680px)}
polyline{stroke-linejoin:round;stroke-linecap:round}
.strips{display:grid;grid-template-columns:repeat(auto-fill,minmax(300px,1fr));gap:8px 24px}
.strips figure{margin:12px 0 0}
.strips figcaption{margin:0;color:var(--soft);font-size:14px;font-weight:600}
.glossary{display:grid;grid-template-columns:repeat(auto-fill,minmax(300px,1fr));gap:10px 32px;margin-top:12px}
.glossary dt{color:var(--ink);font-weight:600;font-size:14px}.glossary dd{color:var(--soft);font-size:14px}
.glossary code{color:var(--faint);font-size:12px}
footer{margin-top:56px;padding-bottom:32px;color:var(--faint);font-size:13px}
@media(max-width:600px){header,main,footer{padding-left:16px;padding-right:16px}header{padding-top:24px}h1{font-size:25px}.tiles{grid-template-columns:repeat(2,1fr)}.wide{width:calc(100vw - 32px)}th,td{padding:5px 8px}}
@media print{body{font-size:12px}.scroll{overflow:visible}nav{display:none}}
"#;
