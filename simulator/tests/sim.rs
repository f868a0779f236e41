//! The program `sim` as people and programs meet it: what it prints where, and what it ends with.
#![cfg(feature = "cli")]

use std::path::Path;
use std::process::{Command, Output};

/// The exit codes that `sim` promises.
const WELL: i32 = 0;
const BROKEN: i32 = 1;
const REFUSED: i32 = 2;

fn sim(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sim")).args(arguments).output().expect("sim starts")
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("text")
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("text")
}

/// The rows that a command prints; there is nothing else on its standard output.
fn rows(arguments: &[&str]) -> Vec<serde_json::Value> {
    let output = sim(arguments);
    assert_eq!(output.status.code(), Some(WELL), "{arguments:?}: {}", stderr(&output));
    stdout(&output).lines().map(|line| serde_json::from_str(line).expect("a row")).collect()
}

fn write(folder: &Path, name: &str, text: &str) -> String {
    let file = folder.join(name);
    std::fs::write(&file, text).expect("a folder to write in");
    file.to_str().expect("a plain name").to_owned()
}

#[test]
fn what_there_is_not_is_refused_with_what_there_is() {
    for (arguments, reason) in [
        (&["run", "fixed-5m"][..], "did you mean fixed-4m"),
        (&["run", "startup", "--estimator", "gc"], "did you mean gcc"),
        (&["run", "startup", "--set", "rat=2M"], "did you mean rate?"),
        (&["run", "startup", "--set", "rate=2"], "has no unit"),
        (&["run", "startup", "--html", "/nowhere/page.html"], "there is no folder /nowhere"),
        (&["run", "trace"], "--trace FILE"),
        (&["run", "trace", "--trace", "/nowhere/trace"], "reading /nowhere/trace"),
        (&["bench", "--seeds", "9..1"], "end before they begin"),
        (&["bench", "--seeds", "x"], "neither a number nor a range"),
        (&["bench", "--scene", "games"], "there are game, chorus, pk"),
        (&["bench", "--scenario", "startup,nothing"], "no scenario \"nothing\""),
        (&["bench", "--trace", "x", "--scenario", "startup"], "--trace is for the scenario trace"),
        (&["sweep", "/nowhere/plan.toml"], "reading /nowhere/plan.toml"),
        (&["replay", "startup"], "not of the form"),
        (&["compare", "gcc", "rows.jsonl"], "two estimators or two files"),
        (&["compare", "a.jsonl", "b.jsonl"], "reading a.jsonl"),
        (&["dance"], "unrecognized subcommand"),
    ] {
        let output = sim(arguments);
        assert_eq!(output.status.code(), Some(REFUSED), "{arguments:?}");
        assert!(stderr(&output).contains(reason), "{arguments:?}: {}", stderr(&output));
        assert_eq!(stdout(&output), "", "{arguments:?}");
    }
}

#[test]
fn the_list_names_scenarios_and_estimators() {
    let output = sim(&["list"]);
    let text = stdout(&output);
    assert_eq!(output.status.code(), Some(WELL));
    for name in ["fixed-4m", "rfc8867-5.1", "shallow-20", "trace", "  gcc", "  oracle"] {
        assert!(text.lines().any(|line| line.starts_with(name)), "{name}");
    }
}

#[test]
fn a_bench_prints_a_row_for_each_scenario_and_estimator_in_order() {
    let arguments =
        ["bench", "--scenario", "startup,startup-jitter", "--estimator", "gcc,oracle", "--seeds", "3..4"];
    let rows = rows(&[&arguments[..], &["--scene", "pk", "--json"]].concat());
    let cases: Vec<_> =
        rows.iter().map(|row| (row["scenario"].as_str(), row["estimator"].as_str())).collect();
    let expected =
        [("startup", "gcc"), ("startup", "oracle"), ("startup-jitter", "gcc"), ("startup-jitter", "oracle")];
    assert_eq!(cases, expected.map(|(scenario, estimator)| (Some(scenario), Some(estimator))));
    for row in &rows {
        assert_eq!((&row["seeds"], &row["scene"], &row["runs"]), (&"3..4".into(), &"pk".into(), &2.into()));
        let (util, worst) = (row["util"].as_f64().unwrap(), row["util_worst"].as_f64().unwrap());
        assert!(0.0 < worst && worst <= util && util < 1.1, "{row}");
    }
    assert_eq!(stdout(&sim(&arguments)), "", "without --json the standard output is left alone");
    assert!(stderr(&sim(&arguments)).contains("queue p95, ms"), "the table is for people");
}

#[test]
fn the_same_run_gives_the_same_row_and_what_is_set_changes_it() {
    let run = |set: &str| {
        let arguments =
            ["run", "startup-jitter", "--estimator", "gcc", "--seed", "7", "--json", "--set", set];
        let mut row = rows(&arguments).remove(0);
        row["cpu_ns_per_packet"] = 0.into(); // the one number that clocks make
        row["cpu_ns_per_packet_worst"] = 0.into();
        row
    };
    let (plain, set) = (run(""), run("rate=2M,queue=30ms"));
    assert_eq!(run(""), plain);
    assert_eq!(set["set"], "rate=2000k,queue=30ms");
    assert_ne!(set["util"], plain["util"]);
    assert!(plain["set"].is_null());
}

#[test]
fn a_plan_is_swept_and_a_bad_one_refused_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("page.html");
    let plan = "title = 'two depths'\nscenarios = ['startup']\nestimators = ['gcc']\nseeds = 1\n\
                [set]\nqueue = ['10ms', '100ms']\n";
    let plan = write(folder.path(), "plan.toml", plan);
    let found = rows(&["sweep", &plan, "--json", "--html", page.to_str().unwrap()]);
    let sets: Vec<_> = found.iter().map(|row| row["set"].as_str().unwrap()).collect();
    assert_eq!(sets, ["queue=10ms", "queue=100ms"]);
    let html = std::fs::read_to_string(page).unwrap();
    assert!(html.contains("two depths") && html.contains("<svg") && !html.contains("http"));

    let bad = write(folder.path(), "bad.toml", "scenarios = [\n  'startup',\n  'starup',\n]\n");
    let output = sim(&["sweep", &bad]);
    assert_eq!(output.status.code(), Some(REFUSED));
    assert!(
        stderr(&output).contains("line 3: no scenario \"starup\"; did you mean startup"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn the_plans_that_come_along_are_good() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("plans");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let file = entry.unwrap().path();
        let text = std::fs::read_to_string(&file).unwrap();
        let plan = simulator::sweep::Plan::parse(&text, &|asked| match asked {
            simulator::sweep::Ask::Scenario(name) => {
                simulator::scenario::find(name).map(|_| ()).ok_or_else(|| name.to_owned())
            }
            simulator::sweep::Ask::Set(name, set) => {
                let mut scenario = simulator::scenario::find(name).ok_or_else(|| name.to_owned())?;
                set.apply(&mut scenario).map_err(|error| error.to_string())
            }
            simulator::sweep::Ask::Estimator(_) => Ok(()),
        });
        assert!(plan.is_ok(), "{}: {plan:?}", file.display());
        count += 1;
    }
    assert!(count >= 2, "{count} plans");
}

#[test]
fn recorded_links_are_played_from_both_formats() {
    let folder = tempfile::tempdir().unwrap();
    // Both are 1.2 Mbit/s: a packet of 1500 bytes each 10 ms.
    let lines = (1..=1000).map(|packet| (packet * 10).to_string()).collect::<Vec<_>>().join("\n");
    let mahimahi = write(folder.path(), "link.down", &lines);
    let rates = write(folder.path(), "link.txt", "0 1.2\n5 1.2\n");
    for file in [mahimahi, rates] {
        let row =
            rows(&["bench", "--trace", &file, "--estimator", "oracle", "--seeds", "1", "--json"]).remove(0);
        assert_eq!(row["scenario"], "trace");
        assert_eq!(row["set"], format!("trace={file}"));
        let util = row["util"].as_f64().unwrap();
        assert!((0.5..=1.0).contains(&util), "{file}: {util}"); // the oracle keeps below the deepest dip of 400 ms
        assert_eq!(sim(&["replay", &format!("trace/oracle/1/trace={file}")]).status.code(), Some(WELL));
    }
    let empty = write(folder.path(), "empty", "# nothing\n");
    let output = sim(&["run", "trace", "--trace", &empty]);
    assert_eq!(output.status.code(), Some(REFUSED));
    assert!(stderr(&output).contains("the trace is empty"), "{}", stderr(&output));
}

#[test]
fn a_replay_tells_the_trace_of_the_run() {
    let replay = || {
        let output = sim(&["replay", "startup/gcc/1/rate=2000k"]);
        assert_eq!(output.status.code(), Some(WELL), "{}", stderr(&output));
        stdout(&output)
    };
    let told = replay();
    assert!(
        told.starts_with("startup/gcc/1/rate=2000k: ") && told.ends_with("no rule was broken\n"),
        "{told}"
    );
    assert_eq!(replay(), told, "the same seed gives the same trace");
}

#[test]
fn estimators_and_files_of_rows_are_compared() {
    let arguments = ["compare", "oracle", "nada", "--scenario", "startup,rtt-300", "--seeds", "1"];
    let output = sim(&arguments);
    assert_eq!(output.status.code(), Some(WELL), "{}", stderr(&output));
    let told = stdout(&output);
    assert!(told.lines().any(|line| line.starts_with("startup")), "{told}");
    assert!(told.ends_with("even\n") && told.contains(" wins, "), "{told}");

    let folder = tempfile::tempdir().unwrap();
    let rows = |estimator: &str| {
        let output = sim(&["run", "startup", "--estimator", estimator, "--json"]);
        write(folder.path(), &format!("{estimator}.jsonl"), &stdout(&output))
    };
    let (oracle, nada) = (rows("oracle"), rows("nada"));
    let told = stdout(&sim(&["compare", &oracle, &nada]));
    assert!(told.lines().count() == 3 && told.lines().nth(1).unwrap().starts_with("startup"), "{told}");
    let bad = write(folder.path(), "bad.jsonl", "{}\n");
    let output = sim(&["compare", &oracle, &bad]);
    assert_eq!(output.status.code(), Some(REFUSED));
    assert!(stderr(&output).contains("bad.jsonl, line 1: no row"), "{}", stderr(&output));
}

#[test]
fn goals_stand_beside_what_was_measured_and_missing_them_tells_when_asked() {
    let missed =
        ["bench", "--scenario", "fixed-4m", "--estimator", "hybrid", "--seeds", "1", "--set", "loss=40%"];
    let output = sim(&missed);
    assert!(
        stderr(&output).contains("worst seed, util") && stderr(&output).contains("SHORT"),
        "{}",
        stderr(&output)
    );
    assert_eq!(sim(&[&missed[..], &["--check"]].concat()).status.code(), Some(BROKEN));
    let none = ["bench", "--scenario", "fixed-4m", "--estimator", "gcc", "--seeds", "1", "--check"];
    assert_eq!(sim(&none).status.code(), Some(WELL), "only ours has goals");

    let folder = tempfile::tempdir().unwrap();
    let image = folder.path().join("bars.svg");
    let more = ["--markdown", "--svg", image.to_str().unwrap()];
    let output = sim(&[&missed[..], &more].concat());
    assert!(stdout(&output).starts_with("| scenario |") && stdout(&output).contains("Still short:"));
    assert!(std::fs::read_to_string(image).unwrap().starts_with("<svg"));
}

#[test]
fn scenes_reach_who_goes_by_them_and_runs_are_found_again() {
    let arguments = ["bench", "--scenario", "fixed-4m", "--estimator", "hybrid,bbr", "--seeds", "1"];
    let rows = rows(&[&arguments[..], &["--scene", "pk,game", "--json"]].concat());
    let cases: Vec<_> = rows.iter().map(|row| (row["estimator"].as_str(), row["scene"].as_str())).collect();
    let expected = [("hybrid", "pk"), ("hybrid", "game"), ("bbr", "pk")];
    assert_eq!(cases, expected.map(|(estimator, scene)| (Some(estimator), Some(scene))));
    assert_ne!(rows[0]["q95_ms"], rows[1]["q95_ms"], "a game has a shorter queue");
    let again = sim(&["replay", "fixed-4m/hybrid/1/scene=game"]);
    assert_ne!(again.status.code(), Some(REFUSED), "{}", stderr(&again));
}

#[test]
fn what_estimators_cost_is_measured_on_the_same_packets() {
    let rows = rows(&["bench", "--cpu", "--estimator", "hybrid,gcc", "--json"]);
    assert_eq!(rows.len(), 4, "two cases, two estimators");
    for row in &rows {
        let (nanos, ratio) = (row["cpu_ns_per_packet"].as_f64().unwrap(), row["ratio"].as_f64().unwrap());
        assert!(nanos > 0.0 && (0.01..100.0).contains(&ratio), "{row}");
    }
    assert!(rows.iter().filter(|row| row["estimator"] == "gcc").all(|row| row["ratio"] == 1.0));
}

/// A flow that pauses beyond the end of the run: no picture arrives when the network has healed, which breaks a rule.
const MUTE: &str = "name = 'mute'\nduration = '5s'\nbottlenecks = ['down']\n\
                    [links.down]\nrate = '4mbit'\ndelay = '25ms'\n[links.up]\ndelay = '25ms'\n\
                    [[flows]]\nforward = ['down']\nbackward = ['up']\npauses = [['2s', '1000s']]\n";

#[test]
fn a_broken_rule_is_told_with_the_command_that_shows_it_again() {
    let folder = tempfile::tempdir().unwrap();
    let scenario = write(folder.path(), "mute.toml", MUTE);
    let output = sim(&["run", &scenario, "--estimator", "gcc", "--seed", "3", "--json"]);
    assert_eq!(output.status.code(), Some(BROKEN), "{}", stderr(&output));
    let told = stderr(&output);
    let name = format!("{scenario}/gcc/3");
    assert!(
        told.contains("recovery at 15.0") && told.contains(&format!("again: sim replay \"{name}\"")),
        "{told}"
    );
    assert!(stdout(&output).trim_end().ends_with("\"violations\":1}"), "the row is there all the same");

    let output = sim(&["replay", &name]);
    assert_eq!(output.status.code(), Some(BROKEN), "{}", stderr(&output));
    let told = stdout(&output);
    assert!(told.contains("recovery at 15.0") && told.contains("every event around 15.0"), "{told}");
}
