//! Plans in TOML: what they say, and how bad ones are refused.

use super::super::file::parse_links;
use super::super::plan::{
    EcnMarking, GilbertElliott, Jitter, Loss, Lte, LteRate, Outage, Policer, Stalls, Wifi,
};
use super::*;

/// The files that the plans here name.
fn read(name: &str) -> Result<String, String> {
    match name {
        "cell" => Ok("10\n20\n".to_owned()),
        "rates" => Ok("0 3\n1 6\n".to_owned()),
        "lost" => Ok("0\n1\n".to_owned()),
        "dead" => Ok("0 0\n1 0\n".to_owned()),
        "garbled" => Ok("1\n2\nthree\n".to_owned()),
        _ => Err("no such file".to_owned()),
    }
}

fn plan(table: &str) -> LinkPlan {
    let links = parse_links(&format!("[links.down]\n{table}\n"), &read).unwrap();
    assert_eq!(links.len(), 1);
    assert_eq!(links[0].0, "down");
    links[0].1.clone()
}

fn second(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn every_kind_of_rate_says_what_it_means() {
    let mbps = Bitrate::mbps;
    let lte = |rate, harq_retries| Rate::Lte(Lte { rate, harq_retries });
    let steps = vec![(second(0), mbps(4)), (second(20), Bitrate::ZERO), (second(22), mbps(1))];
    let wifi = |stall_every, stall_length| {
        let (rate, aggregate, contention) = (mbps(20), 5 * MS, 3 * MS);
        Rate::Wifi(Wifi { rate, aggregate, contention, stall_every, stall_length })
    };
    let air = "rate = '20mbit', aggregate = '5ms', contention = '3ms'";
    let (calm, stalling) = (
        format!("wifi = {{ {air} }}"),
        format!("wifi = {{ {air}, stall_every = '5s', stall_length = '80ms' }}"),
    );
    let fading = LteRate::Fading { mean: mbps(5), sigma: 0.7, coherence: 300 * MS };
    for (table, wanted) in [
        ("", Rate::Unlimited),
        ("rate = 'unlimited'", Rate::Unlimited),
        ("rate = '4mbit'", Rate::Constant(mbps(4))),
        ("rate = [['0s', '4mbit'], ['20s', '0bit'], ['22s', '1mbit']]", Rate::Steps(steps)),
        (&calm, wifi(None, Duration::ZERO)),
        (&stalling, wifi(Some(second(5)), 80 * MS)),
        (
            "lte = { mean = '5mbit', sigma = 0.7, coherence = '300ms', harq_retries = '20%' }",
            lte(fading, 0.2),
        ),
        ("lte = { steps = [['0s', '5mbit']] }", lte(LteRate::Steps(vec![(second(0), mbps(5))]), 0.1)),
        (
            "lte = { trace = 'rates', harq_retries = 0 }",
            lte(LteRate::Steps(vec![(second(0), mbps(3)), (second(1), mbps(6))]), 0.0),
        ),
    ] {
        assert_eq!(plan(table), LinkPlan { rate: wanted, ..LinkPlan::default() }, "{table}");
    }
}

#[test]
fn every_other_key_says_what_it_means() {
    let none = LinkPlan::default;
    let gilbert = |good_to_bad, bad_to_good, loss_good, loss_bad| LinkPlan {
        loss: Loss::GilbertElliott(GilbertElliott { good_to_bad, bad_to_good, loss_good, loss_bad }),
        ..none()
    };
    let codel =
        Queue::CoDel { target: 5 * MS, interval: 100 * MS, depth: Depth::Bytes(DataSize::kilobytes(30)) };
    let only_codel = Some(EcnMarking { above: Duration::MAX });
    let policer = Some(Policer { rate: Bitrate::mbps(3), burst: DataSize::kilobytes(30) });
    let stalls = Some(Stalls { every: 2_500 * MS, length: 80 * MS });
    let outages = vec![Outage { start: second(10), length: 500 * MS }];
    let reordering = Some(Jitter { sigma: 5 * MS, sigmas_max: 2.0, reorder: true });
    for (table, wanted) in [
        ("queue = '50packets'", LinkPlan { queue: Queue::DropTail(Depth::Packets(50)), ..none() }),
        ("queue = '30kB'\ncodel = {}", LinkPlan { queue: codel.clone(), ..none() }),
        (
            "queue = '30kB'\ncodel = { target = '5ms', interval = '100ms' }\necn = true",
            LinkPlan { queue: codel, ecn: only_codel, ..none() },
        ),
        ("ecn = '2ms'", LinkPlan { ecn: Some(EcnMarking { above: 2 * MS }), ..none() }),
        ("ecn = false", none()),
        ("policer = { rate = '3mbit', burst = '30kB' }", LinkPlan { policer, ..none() }),
        ("stalls = { every = '2.5s', length = '80ms' }", LinkPlan { stalls, ..none() }),
        ("outages = [['10s', '500ms']]", LinkPlan { outages, ..none() }),
        ("loss = 0.01", LinkPlan { loss: Loss::Independent(0.01), ..none() }),
        ("loss = 0", LinkPlan { loss: Loss::Independent(0.0), ..none() }),
        ("loss = '2.5%'", LinkPlan { loss: Loss::Independent(0.025), ..none() }),
        ("loss = { good_to_bad = 0.01, bad_to_good = 0.2 }", gilbert(0.01, 0.2, 0.0, 1.0)),
        (
            "loss = { good_to_bad = 0.01, bad_to_good = 0.2, loss_good = 0.001, loss_bad = 0.5 }",
            gilbert(0.01, 0.2, 0.001, 0.5),
        ),
        ("loss = { mean = 0.2, burst = 4 }", gilbert(0.0625, 0.25, 0.0, 1.0)),
        ("loss = { every = 100 }", LinkPlan { loss: Loss::EveryNth(100), ..none() }),
        ("loss = { trace = 'lost' }", LinkPlan { loss: Loss::Trace([false, true].into()), ..none() }),
        ("delay = '25ms'", LinkPlan { delay: 25 * MS, ..none() }),
        ("jitter = '5ms'", LinkPlan { jitter: Some(Jitter::nr_bpdv(5 * MS)), ..none() }),
        (
            "jitter = { sigma = '5ms', sigmas_max = 2, reorder = true }",
            LinkPlan { jitter: reordering, ..none() },
        ),
    ] {
        assert_eq!(plan(table), wanted, "{table}");
    }
}

#[test]
fn traces_are_read_from_the_files_that_plans_name() {
    let Rate::Opportunities(cell) = plan("rate = { trace = 'cell', format = 'mahimahi' }").rate else {
        panic!("a trace becomes opportunities");
    };
    assert_eq!(cell.times, [10 * MS, 20 * MS]);
    let dispersed =
        |seed: &str| plan(&format!("rate = {{ trace = 'rates', format = 'seconds-mbit'{seed} }}")).rate;
    let Rate::Opportunities(rates) = dispersed("") else { panic!("a trace becomes opportunities") };
    assert_eq!((rates.times.len(), rates.period), (250 + 500, second(2)));
    assert_eq!(dispersed(", seed = 0"), Rate::Opportunities(rates));
    assert_ne!(dispersed(", seed = 1"), dispersed(""));
}

#[test]
fn a_document_may_state_many_links() {
    let text =
        "[links.up]\nrate = '1mbit'\n[links.down]\nrate = '4mbit'\n[links.down.jitter]\nsigma = '5ms'\n";
    let links = parse_links(text, &read).unwrap();
    let names: Vec<&str> = links.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["down", "up"]);
    assert_eq!(links[0].1.jitter, Some(Jitter::nr_bpdv(5 * MS)));
}

fn refused(text: &str, wanted: &str) {
    let error = parse_links(text, &read).unwrap_err().to_string();
    assert!(error.starts_with(wanted), "{text}\n  gave {error}\n  not {wanted}");
}

#[test]
fn bad_values_are_refused_with_the_reason() {
    for (table, reason) in [
        ("rate = '-4mbit'", "\"-4mbit\" is negative"),
        ("rate = 4000000", "invalid type: integer `4000000`, expected a rate like"),
        ("rate = '4 apples'", "\"4 apples\" has no unit that fits here"),
        ("rate = '0mbit'", "a rate of zero never carries anything"),
        (
            "rate = [['0s', '4mbit'], ['5s', '1mbit'], ['5s', '2mbit']]",
            "the step at 5s is not after the one at 5s",
        ),
        ("rate = [['1s', '4mbit']]", "the first step must be at \"0s\""),
        ("rate = [['0s', '0mbit']]", "the steps have zero capacity"),
        ("rate = []", "the steps have zero capacity"),
        ("rate = { trace = 'gone', format = 'mahimahi' }", "trace file \"gone\": no such file"),
        (
            "rate = { trace = 'dead', format = 'seconds-mbit' }",
            "trace file \"dead\": the trace has zero capacity",
        ),
        (
            "rate = { trace = 'garbled', format = 'mahimahi' }",
            "trace file \"garbled\": line 3: \"three\" is not",
        ),
        ("rate = { trace = 'cell' }", "missing field `format`"),
        (
            "rate = { trace = 'cell', format = 'pcap' }",
            "unknown variant `pcap`, expected `mahimahi` or `seconds-mbit`",
        ),
        ("loss = 1.5", "a share lies between 0 and 1, 1.5 does not"),
        ("loss = -0.1", "a share lies between 0 and 1, -0.1 does not"),
        ("loss = nan", "a share lies between 0 and 1"),
        ("loss = '101%'", "\"101%\" is too large"),
        ("loss = { good_to_bad = 2, bad_to_good = 0.1 }", "a share lies between 0 and 1, 2 does not"),
        ("loss = { good_to_bad = 0.1 }", "a loss table has"),
        ("loss = { every = 5, mean = 0.1 }", "a loss table has"),
        ("loss = { good_to_bad = 0.1, bad_to_good = 0 }", "`bad_to_good = 0` loses everything"),
        ("loss = { mean = 0.1, burst = 0.5 }", "a mean loss below 1 in bursts of at least 1"),
        ("loss = { every = 0 }", "every 0th packet"),
        ("loss = { trace = 'gone' }", "trace file \"gone\": no such file"),
        ("queue = '0ms'", "a queue of \"0ms\" has no room"),
        ("queue = '0packets'", "a queue of \"0packets\" has no room"),
        ("queue = true", "invalid type: boolean `true`, expected a depth like"),
        ("policer = { rate = '3mbit', burst = '0kB' }", "a bucket without a `burst`"),
        ("stalls = { every = '1s', length = '1s' }", "a stall's `length` must be shorter"),
        ("outages = [['1s']]", "invalid length"),
        ("delay = 25", "invalid type: integer `25`, expected a time like \"25ms\""),
        ("rate = '4mbit'\nlte = { mean = '1mbit' }", "a link has one of `rate`, `wifi` and `lte`"),
        ("lte = { mean = '1mbit' }\nwifi = { rate = '1mbit' }", "a link has one of `rate`, `wifi` and `lte`"),
        ("lte = { sigma = 1.0 }", "an `lte` table has `mean`"),
        (
            "wifi = { rate = '20mbit', stall_every = '1s' }",
            "`stall_every` and `stall_length` belong together",
        ),
        ("jitter = { sigma = '5ms', sigmas_max = -1 }", "`sigmas_max` lies between 0 and 10"),
        ("ecn = true", "`ecn = true` marks where CoDel would drop"),
        ("rat = '4mbit'", "unknown key `rat`; did you mean `rate`?"),
        ("xyz = 1", "unknown key `xyz`; there are rate, wifi, lte, queue"),
    ] {
        refused(&format!("[links.a]\n{table}"), &format!("line 2: {reason}"));
    }
}

#[test]
fn errors_name_their_line() {
    for (text, wanted) in [
        ("[links.a]\n\n\nrate = '-4mbit'", "line 4: \"-4mbit\" is negative"),
        ("[links.a]\ndelay = '1ms'\nrat = '4mbit'", "line 3: unknown key `rat`"),
        ("[links.a]\nrate = [\n  ['0s', '4mbit'],\n  ['5s', '-1mbit'],\n]", "line 4: \"-1mbit\" is negative"),
        ("[links.a]\ndelay = '1ms'\nloss = { trace = 'gone' }", "line 3: trace file \"gone\""),
        (
            "[links.a]\n[links.a.wifi]\nrate = '1mbit'\ncontentoin = '1ms'",
            "line 4: unknown key `contentoin`; did you mean `contention`?",
        ),
        ("[links.a]\n[links.a.loss]\ngood_to_bad = 0.1\nbad_to_good = 7", "line 4: a share lies between"),
        ("[link.a]\nrate = '4mbit'", "line 1: unknown key `link`; did you mean `links`?"),
        ("[links.a]\nrate = '1mbit'\nrate = '2mbit'", "line 3: duplicate key"),
        ("[links.a]\nrate = ", "line 2: "),
        ("", "line 1: missing field `links`"),
    ] {
        refused(text, wanted);
    }
}
