//! The chart: what a session adds to a request, as bars.

use crate::contender::Contender;
use crate::measure::{Cost, Round};
use std::fmt::Write;

const WIDTH: f64 = 760.0;
/// Where the bars begin. The names stand left of it.
const LEFT: f64 = 250.0;
/// The room for the figures right of the longest bar.
const RIGHT: f64 = 90.0;
const BAR: f64 = 18.0;
const STEP: f64 = 26.0;

/// The colours of a light and of a dark page. The chart brings its own background, so it can be read on any page.
const STYLE: &str = "\
text { font: 13px system-ui, sans-serif; fill: #1f2328 }
.title { font-size: 15px; font-weight: 600 }
.head { font-weight: 600 }
.page { fill: #ffffff; stroke: #d1d9e0 }
.server { fill: #2f6fb5 }
.redis { fill: #d9822b }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 }
  .page { fill: #151b23; stroke: #3d444d }
  .server { fill: #5b9be0 }
  .redis { fill: #e8a33d }
}";

pub fn chart(contenders: &[Contender]) -> String {
    let panels: [(&str, Cost, Cost); 2] = [
        ("A request that reads its session", Round::read_server, Round::read_redis),
        ("A request that reads and writes its session", Round::count_server, Round::count_redis),
    ];
    let bars = panels.map(|(title, server, redis)| (title, bars(contenders, server, redis)));
    let longest =
        bars.iter().flat_map(|(_, bars)| bars).filter_map(|bar| bar.cost).map(|(server, redis)| server + redis);
    let scale = (WIDTH - LEFT - RIGHT) / longest.fold(1.0, f64::max);

    let mut body = String::new();
    let mut y = 62.0;
    for (title, bars) in &bars {
        y += 20.0;
        let _ = writeln!(body, r#"<text class="head" x="16" y="{y}">{title}</text>"#);
        y += 10.0;
        for bar in bars {
            bar.draw(&mut body, y, scale);
            y += STEP;
        }
        y += 8.0;
    }
    let height = y + 8.0;
    format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}"
role="img" aria-labelledby="title">
<style>
{STYLE}
</style>
<rect class="page" x="0.5" y="0.5" width="{}" height="{}" rx="6"/>
<text class="title" id="title" x="16" y="28">CPU time that a session adds to a request, in microseconds</text>
<rect class="server" x="16" y="43" width="12" height="12"/><text x="34" y="54">server</text>
<rect class="redis" x="96" y="43" width="12" height="12"/><text x="114" y="54">Redis</text>
{body}</svg>
"#,
        WIDTH - 1.0,
        height - 1.0,
    )
}

struct Bar {
    name: &'static str,
    /// Of server and Redis.
    cost: Option<(f64, f64)>,
}

fn bars(contenders: &[Contender], server: Cost, redis: Cost) -> Vec<Bar> {
    let bar = |contender: &Contender| {
        let figures = contender.state.as_ref().ok().map(|running| &running.figures);
        // Noise may make a very small cost negative.
        let cost = figures.map(|figures| (figures.median(server).max(0.0), figures.median(redis).max(0.0)));
        Bar { name: contender.peer.name, cost }
    };
    contenders.iter().map(bar).collect()
}

impl Bar {
    fn draw(&self, body: &mut String, y: f64, scale: f64) {
        let (name, baseline) = (self.name, y + 14.0);
        let _ = writeln!(body, r#"<text x="{}" y="{baseline}" text-anchor="end">{name}</text>"#, LEFT - 10.0);
        let Some((server, redis)) = self.cost else {
            let _ = writeln!(body, r#"<text x="{LEFT}" y="{baseline}">not measured</text>"#);
            return;
        };
        let (server_width, redis_width) = (server * scale, redis * scale);
        let middle = LEFT + server_width;
        let _ = writeln!(
            body,
            r#"<rect class="server" x="{LEFT}" y="{y}" width="{server_width:.1}" height="{BAR}"/>
<rect class="redis" x="{middle:.1}" y="{y}" width="{redis_width:.1}" height="{BAR}"/>
<text x="{:.1}" y="{baseline}">{server:.0} + {redis:.0}</text>"#,
            middle + redis_width + 8.0,
        );
    }
}
