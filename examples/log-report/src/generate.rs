//! An access log made up from a seed: the same seed gives the same bytes on every machine.

use std::{
    fmt::Write as _,
    fs::File,
    io::{self, BufWriter, Write as _},
    path::Path,
};

/// What a line asks for: method, target (`#` becomes an id, `%` a small number), weight, typical time in ms, typical
/// size in bytes.
const RESOURCES: &[(&str, &str, u32, u64, u64)] = &[
    ("GET", "/", 180, 9, 14_200),
    ("GET", "/products", 140, 21, 22_800),
    ("GET", "/products/#", 220, 16, 18_400),
    ("GET", "/search?q=term%&page=%", 110, 74, 16_900),
    ("GET", "/assets/app.js", 160, 2, 88_000),
    ("GET", "/assets/site.css", 150, 1, 21_500),
    ("GET", "/api/v1/cart", 90, 12, 860),
    ("POST", "/api/v1/cart/items", 60, 28, 420),
    ("GET", "/api/v1/orders/#", 55, 33, 1_900),
    ("POST", "/api/v1/orders", 24, 140, 950),
    ("GET", "/api/v1/users/#/orders?limit=%", 35, 52, 5_400),
    ("POST", "/login", 30, 190, 310),
    ("GET", "/reports/#/export.csv", 6, 1_400, 940_000),
    ("GET", "/healthz", 70, 1, 15),
    ("GET", "/favicon.ico", 25, 1, 4_286),
    ("GET", "/robots.txt", 12, 1, 126),
    ("GET", "/wp-login.php", 9, 3, 162),
    ("GET", r"/..\..\windows\win.ini", 2, 2, 162),
];

/// Programs that clients say they are. Quotes are escaped the way web servers do it.
const AGENTS: &[&str] = &[
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0 Safari/537.36",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 14_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 Safari/605.1.15",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:143.0) Gecko/20100101 Firefox/143.0",
    "curl/8.11.0",
    r"Shopper/3.2 (\x22weekly offers\x22; Android 15)",
    "ExampleBot/2.1 (+https://bot.example/about)",
];

/// Sites that clients come from.
const REFERERS: &[&str] =
    &["-", "-", "https://shop.example/", "https://shop.example/products", "https://search.example/"];

/// Lines spread over one day.
const DAY_SECONDS: u64 = 24 * 60 * 60;

/// A random number generator of our own (SplitMix64), so that a seed means the same log after any upgrade.
#[derive(Debug, Clone)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number in `0..end`; `end` is at least 1.
    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// True once in `times`.
    fn once_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        let len = u64::try_from(from.len()).expect("a usize fits into 64 bits");
        &from[usize::try_from(self.below(len)).expect("below a usize")]
    }
}

/// Makes the lines of a log, one after the other.
#[derive(Debug, Clone)]
pub struct Generator {
    random: Random,
    weights: u64,
    lines: u64,
    next: u64,
}

impl Generator {
    /// A log of `lines` lines; `seed` decides everything in it.
    pub fn new(seed: u64, lines: u64) -> Self {
        let weights = RESOURCES.iter().map(|resource| u64::from(resource.2)).sum();
        Self { random: Random(seed), weights, lines: lines.max(1), next: 0 }
    }

    /// Puts the next line into `line`, which is emptied first; without the line's end.
    pub fn line(&mut self, line: &mut String) {
        line.clear();
        let second = u128::from(self.next) * u128::from(DAY_SECONDS) / u128::from(self.lines);
        self.next += 1;
        let random = &mut self.random;
        let ip = format!("203.0.113.{}", random.below(254) + 1);
        let user = if random.once_in(6) { format!("user{}", random.below(400)) } else { "-".to_owned() };
        let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
        write!(line, "{ip} - {user} [20/Nov/2026:{hour:02}:{minute:02}:{second:02} +0000] ").expect(IN_MEMORY);
        if self.random.once_in(700) {
            return self.odd_end(line);
        }
        let (method, target, time, size) = self.request();
        let random = &mut self.random;
        let status = status(random, method, &target);
        let size = match status {
            304 => "-".to_owned(),
            400.. => (120 + random.below(400)).to_string(),
            _ => (size / 2 + random.below(size + 1)).to_string(),
        };
        let time = time_taken(random, time);
        let (referer, agent) = (random.pick(REFERERS), random.pick(AGENTS));
        write!(line, r#""{method} {target} HTTP/1.1" {status} {size} "{referer}" "{agent}" {time}"#).expect(IN_MEMORY);
    }

    /// The rest of a line that no parser can use: TLS spoken to a plain port, or a write that was cut off.
    fn odd_end(&mut self, line: &mut String) {
        line.push_str(if self.random.once_in(2) {
            r#""\x16\x03\x01\x02\x00\x01" 400 157 "-" "-" 0"#
        } else {
            r#""GET /products/77 HT"#
        });
    }

    fn request(&mut self) -> (&'static str, String, u64, u64) {
        let mut at = self.random.below(self.weights);
        let found = RESOURCES.iter().find(|resource| {
            let weight = u64::from(resource.2);
            let hit = at < weight;
            at = at.saturating_sub(weight);
            hit
        });
        let &(method, pattern, _, time, size) = found.expect("`at` is below the sum of the weights");
        let mut target = String::with_capacity(pattern.len() + 8);
        for letter in pattern.chars() {
            match letter {
                '#' => write!(target, "{}", 1_000 + self.random.below(9_000)).expect(IN_MEMORY),
                '%' => write!(target, "{}", 1 + self.random.below(20)).expect(IN_MEMORY),
                letter => target.push(letter),
            }
        }
        (method, target, time, size)
    }
}

/// Why writing to a `String` cannot fail.
const IN_MEMORY: &str = "a String takes all that is written to it";

fn status(random: &mut Random, method: &str, target: &str) -> u16 {
    if target.contains("wp-login") || target.contains('\\') {
        return 404;
    }
    match random.below(1_000) {
        0..4 => 500,
        4..7 => 503,
        7..9 => 502,
        9..30 => 404,
        30..38 => 403,
        38..130 if method == "GET" => 304,
        130..150 => 302,
        _ if method == "POST" && target.starts_with("/api") => 201,
        _ => 200,
    }
}

/// Near the typical time mostly, several times as long now and then, very long once in a while.
fn time_taken(random: &mut Random, typical: u64) -> u64 {
    let usual = typical * (50 + random.below(101)) / 100;
    if random.once_in(400) {
        usual * 40 + random.below(500)
    } else if random.once_in(20) {
        usual * (2 + random.below(8)) + random.below(10)
    } else {
        usual
    }
}

/// Writes a log of `lines` lines to `path`.
///
/// # Errors
/// Of the file system.
pub fn write_log(path: &Path, seed: u64, lines: u64) -> io::Result<()> {
    let mut generator = Generator::new(seed, lines);
    let mut line = String::new();
    let mut file = BufWriter::new(File::create(path)?);
    for _ in 0..lines {
        generator.line(&mut line);
        line.push('\n');
        file.write_all(line.as_bytes())?;
    }
    file.flush()
}

#[cfg(test)]
mod tests {
    use super::{Generator, write_log};

    fn fingerprint(seed: u64) -> u64 {
        let mut generator = Generator::new(seed, 1_000);
        let mut line = String::new();
        (0..1_000).fold(0xcbf2_9ce4_8422_2325, |hash, _| {
            generator.line(&mut line);
            line.bytes().fold(hash, |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
        })
    }

    #[test]
    fn a_seed_means_the_same_log_for_ever() {
        assert_eq!(fingerprint(42), FINGERPRINT_42);
        assert_ne!(fingerprint(42), fingerprint(43));
    }

    /// Changes only when the generator is changed on purpose.
    const FINGERPRINT_42: u64 = 7_844_600_966_121_025_413;

    #[test]
    fn a_log_on_disk_has_the_generators_lines() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        write_log(&path, 7, 1_003).unwrap();
        let (mut generator, mut expected) = (Generator::new(7, 1_003), String::new());
        let text = std::fs::read_to_string(&path).unwrap();
        for got in text.lines() {
            generator.line(&mut expected);
            assert_eq!(got, expected);
        }
        assert_eq!(text.lines().count(), 1_003);
    }
}
