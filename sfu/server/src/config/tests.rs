use super::*;

const LONG: &str = "0123456789abcdef0123456789abcdef";

/// Loads from a TOML text, variables and flags, on a machine with two cores.
fn load(toml: &str, environment: &[(&str, &str)], flags: &[Setting]) -> Result<Config, String> {
    let directory = std::env::temp_dir().join(format!("lianmai-config-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let name = std::thread::current().name().unwrap_or("test").replace("::", "-");
    let file = directory.join(format!("{name}.toml"));
    std::fs::write(&file, toml).unwrap();
    let environment = environment.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
    let sources = Sources { file: Some(file.clone()), environment, flags: flags.to_vec(), cores: 2 };
    Config::load(sources).map_err(|errors| {
        let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
        lines.join("\n").replace(&format!("file {}", file.display()), "FILE")
    })
}

fn port_flag(value: &str) -> Setting {
    Setting::flag(&["port"], "--port", value)
}

#[test]
fn later_sources_win() {
    let (file, variable, flag) = ("port = 1", &[("LIANMAI_PORT", "2")][..], &[port_flag("3")][..]);
    for (name, toml, environment, flags, port) in [
        ("default", "", &[][..], &[][..], 7880),
        ("file over default", file, &[], &[], 1),
        ("variable over file", file, variable, &[], 2),
        ("flag over variable", file, variable, flag, 3),
        ("flag over file", file, &[], flag, 3),
    ] {
        assert_eq!(load(toml, environment, flags).map(|config| config.port), Ok(port), "{name}");
    }
}

#[test]
fn without_any_source_the_defaults_hold() {
    let config = load("", &[], &[]).unwrap();
    assert_eq!((config.rtc.udp_port, config.rtc.workers, config.rtc.use_loopback), (7882, 2, true));
    assert_eq!((config.rtc.tcp_port, config.rtc.use_tcp), (7881, true));
    assert_eq!((config.bind.to_string().as_str(), config.keys.len()), ("::", 0));
    let with_key = load(&format!("[keys]\na = '{LONG}'"), &[], &[]).unwrap();
    assert!(!with_key.rtc.use_loopback, "loopback is for development");
    let Downlink { min_kbps, start_kbps, max_kbps, forward_repair, instant_start } = config.downlink;
    assert!(forward_repair && instant_start);
    assert_eq!((config.room.scene, min_kbps, start_kbps, max_kbps), (Scene::Pk, 60, 1_000, 25_000));
}

#[test]
fn values_are_read_in_every_spelling() {
    let one = |toml, name, value| load(toml, &[(name, value)], &[]).unwrap();
    let list = one("", "LIANMAI_RTC__NODE_IP", "192.0.2.1, 2001:db8::1").rtc.node_ip;
    assert_eq!(list, [IpAddr::from([192, 0, 2, 1]), "2001:db8::1".parse().unwrap()]);
    let list = one("", "LIANMAI_RTC__NODE_IP", "[192.0.2.1,192.0.2.2]").rtc.node_ip;
    assert_eq!(list.len(), 2);
    let list = one("rtc.node_ip = ['192.0.2.3']", "LIANMAI_PORT", "1").rtc.node_ip;
    assert_eq!(list, [IpAddr::from([192, 0, 2, 3])]);
    let digits = "12345678901234567890123456789012";
    assert_eq!(one("", "LIANMAI_KEYS__MyKey", digits).keys["MyKey"].reveal(), digits);
    assert_eq!(one("", "LIANMAI_LOG__LEVEL", "off").log.level, Level::Off);
}

#[test]
fn what_is_wrong_is_said_with_key_origin_and_expectation() {
    let short =
        "keys.a (FILE): the secret has 5 bytes, expected at least 32; `openssl rand -base64 32` makes one";
    for (toml, environment, flags, complaint) in [
        ("prot = 1", &[][..], &[][..], "unknown key prot (FILE); the nearest known key is port"),
        (
            "[rtc]\nupd_port = 1",
            &[],
            &[],
            "unknown key rtc.upd_port (FILE); the nearest known key is rtc.udp_port",
        ),
        (
            "",
            &[("LIANMAI_RTC__UPD_PORT", "1")],
            &[],
            "unknown key rtc.upd_port (environment variable LIANMAI_RTC__UPD_PORT); the nearest known key is rtc.udp_port",
        ),
        ("[rtcc]\nworkers = 1", &[], &[], "unknown key rtcc (FILE); the nearest known key is rtc"),
        ("port = 'x'", &[], &[], "port = \"x\" (FILE): expected a TCP port, 0 to 65535 (0 picks a free one)"),
        (
            "",
            &[("LIANMAI_PORT", "70000")],
            &[],
            "port = 70000 (environment variable LIANMAI_PORT): expected a TCP port, 0 to 65535 (0 picks a free one)",
        ),
        (
            "",
            &[],
            &[port_flag("-1")],
            "port = -1 (flag --port): expected a TCP port, 0 to 65535 (0 picks a free one)",
        ),
        ("rtc = 5", &[], &[], "rtc = 5 (FILE): expected a table of keys"),
        ("rtc.workers = 65", &[], &[], "rtc.workers = 65 (FILE): expected a number of threads, 1 to 64"),
        ("rtc.workers = 0", &[], &[], "rtc.workers = 0 (FILE): expected a number of threads, 1 to 64"),
        (
            "rtc.udp_port = 65535",
            &[],
            &[],
            "rtc.udp_port = 65535 (FILE): expected a UDP port with udp_port + workers - 1 at most 65535 (0 picks free ones)",
        ),
        (
            "",
            &[("LIANMAI_RTC__NODE_IP", "here")],
            &[],
            "rtc.node_ip = \"here\" (environment variable LIANMAI_RTC__NODE_IP): expected an IP address or a list of at most 16",
        ),
        (
            "bind = 'localhost'",
            &[],
            &[],
            "bind = \"localhost\" (FILE): expected an IP address such as \"::\" or \"0.0.0.0\"",
        ),
        (
            "log.level = 'loud'",
            &[],
            &[],
            "log.level = \"loud\" (FILE): expected off, error, warn, info, debug or trace",
        ),
        (
            "room.scene = 'karaoke'",
            &[],
            &[],
            "room.scene = \"karaoke\" (FILE): expected game, chorus, pk, chat or watch",
        ),
        ("downlink.min_kbps = 0", &[], &[], "downlink.min_kbps = 0 (FILE): expected kbit/s, 1 to 10000000"),
        (
            "downlink.start_kbps = 50",
            &[],
            &[],
            "downlink.start_kbps = 50 (FILE): expected kbit/s, from min_kbps to 10000000",
        ),
        (
            "",
            &[("LIANMAI_DOWNLINK__MAX_KBPS", "999")],
            &[],
            "downlink.max_kbps = 999 (environment variable LIANMAI_DOWNLINK__MAX_KBPS): expected kbit/s, from start_kbps to 10000000",
        ),
        ("[keys]\na = 'short'", &[], &[], short),
        (
            "[keys]\na = 12345",
            &[],
            &[],
            "keys.a = ******** (FILE): expected a table of name = \"secret\", each secret a text of at least 32 bytes",
        ),
        (
            "room.max_participants = 0",
            &[],
            &[],
            "room.max_participants = 0 (FILE): expected a number of participants, 1 to 10000",
        ),
    ] {
        assert_eq!(
            load(toml, environment, flags).map(|_| ()),
            Err(complaint.to_owned()),
            "{toml} {environment:?}"
        );
    }
}

#[test]
fn every_unknown_key_is_named_at_once_and_syntax_errors_say_where() {
    let errors = load("prot = 1\n[room]\nmax = 3", &[], &[]).unwrap_err();
    assert_eq!(errors.lines().count(), 2, "{errors}");
    let error = load("port = = 1", &[], &[]).unwrap_err();
    assert!(error.contains("line 1"), "{error}");
    let missing = Sources { file: Some("/nowhere/lianmai.toml".into()), cores: 1, ..Sources::default() };
    let errors = Config::load(missing).unwrap_err();
    assert!(errors[0].to_string().contains("/nowhere/lianmai.toml"), "{errors:?}");
}

#[test]
fn the_effective_configuration_reads_back_and_hides_secrets() {
    let config =
        load(&format!("port = 1\n[keys]\nb = '{LONG}'\n[rtc]\nexternal_ip = '203.0.113.7'"), &[], &[])
            .unwrap();
    let shown = config.to_toml(Secrets::Shown);
    assert_eq!(load(&shown, &[], &[]), Ok(config.clone()));
    let masked = config.to_toml(Secrets::Masked);
    assert!(!masked.contains(LONG) && masked.contains("b = \"********\""), "{masked}");
    assert!(!format!("{config:?}").contains(LONG));
}

#[test]
fn media_by_tcp_needs_a_port_of_its_own_if_there_is_such() {
    for (text, taken) in [
        ("port = 7881", true),
        ("port = 7881\n[rtc]\ntcp_port = 0", false),
        ("port = 7881\n[rtc]\nuse_tcp = false", false),
        ("port = 0\n[rtc]\ntcp_port = 0", false),
    ] {
        let said = load(text, &[], &[]).err();
        let expected = "rtc.tcp_port = 7881 (default): expected a TCP port other than `port`";
        assert_eq!(said.is_some(), taken, "{text}: {said:?}");
        assert!(said.is_none_or(|said| said.starts_with(expected)), "{text}");
    }
}

#[test]
fn the_table_of_keys_is_the_type_s() {
    let keys = format!("[keys]\na = '{LONG}'\n[rtc]\nexternal_ip = '203.0.113.7'\nnode_ip = '203.0.113.8'");
    let config = toml::Table::try_from(load(&keys, &[], &[]).unwrap()).unwrap();
    let mut paths = Vec::new();
    for (name, value) in &config {
        match value.as_table().filter(|_| name != KEYS) {
            Some(table) => paths.extend(table.keys().map(|key| format!("{name}.{key}"))),
            None => paths.push(name.clone()),
        }
    }
    let mut known: Vec<_> = known::KNOWN.iter().map(|known| known.path.to_owned()).collect();
    known.sort();
    paths.sort();
    assert_eq!(paths, known);
    for path in paths {
        let last = path.rsplit('.').next().unwrap();
        assert!(DEFAULTS.contains(&format!("{last} = ")) || path == KEYS, "{path} is not explained");
    }
}
