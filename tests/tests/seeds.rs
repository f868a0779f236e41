//! Every input that fuzzing ever found, and every valid one, against the parsers of today.

use lianmai_tests::fuzz;

#[test]
fn stored_and_valid_inputs_are_borne() {
    let targets = fuzz::all();
    for (file, target, input) in fuzz::stored().expect("tests/seeds can be read") {
        let target = targets.iter().find(|known| known.name == target);
        let target = target.unwrap_or_else(|| panic!("{file}: no target of that name"));
        assert_eq!(fuzz::trial(target, &input), None, "{file}");
    }
    for target in targets {
        for input in (target.corpus)() {
            assert_eq!(fuzz::trial(&target, &input), None, "{}: {}", target.name, fuzz::to_hex(&input));
        }
    }
}
