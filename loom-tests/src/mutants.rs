use std::io::Read;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// Far above what a mutant takes to die, far below a hung job.
const PATIENCE: Duration = Duration::from_secs(120);

/// Runs the model of each pair (mutant, model) in a child process with that mutant, and demands that it fails; then
/// each model in a child process without one, and demands that it passes. The children use the quick bounds, in which
/// every mutant must die. A deadlock aborts the process from inside
/// loom, so a child is the only place where it can be expected.
///
/// # Panics
/// If a mutant survives: the model is too weak, or the mutant harmless, or a name is misspelt.
pub fn assert_mutants_die(mutants: &[(&str, &str)]) {
    let mut models: Vec<&str> = mutants.iter().map(|(_, model)| *model).collect();
    models.sort_unstable();
    models.dedup();
    for model in models {
        let (status, output) = run(model, None);
        assert!(
            status.success() && output.contains("1 passed"),
            "{model} fails in a child process:\n{output}"
        );
    }
    let survivors: Vec<_> =
        mutants.iter().filter(|(mutant, model)| run(model, Some(mutant)).0.success()).collect();
    assert!(survivors.is_empty(), "mutants that survived: {survivors:?}");
    eprintln!("{} mutants died", mutants.len());
}

fn run(model: &str, mutant: Option<&str>) -> (ExitStatus, String) {
    let program = std::env::current_exe().expect("a test knows where it is");
    let mut command = Command::new(program);
    command
        .args(["--exact", model, "--test-threads=1"])
        .env_remove("BEV_MUTANT")
        .env_remove("BEV_LOOM")
        .env("RUST_BACKTRACE", "0");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    if let Some(mutant) = mutant {
        command.env("BEV_MUTANT", mutant);
    }
    let start = Instant::now();
    let mut child = command.spawn().expect("a test can run itself");
    let status =
        wait(&mut child).unwrap_or_else(|| panic!("{model} with {mutant:?} neither passes nor fails"));
    let mut output = String::new();
    if let Some(mut stdout) = child.stdout.take() {
        let _ = stdout.read_to_string(&mut output);
    }
    if let Some(mutant) = mutant {
        let fate = if status.success() { "SURVIVED" } else { "died" };
        eprintln!("mutant {mutant} {fate} in {model}, {:.2} s", start.elapsed().as_secs_f64());
    }
    (status, output)
}

fn wait(child: &mut Child) -> Option<ExitStatus> {
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end {
        if let Some(status) = child.try_wait().expect("the child is ours") {
            return Some(status);
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    let _ = child.kill();
    let _ = child.wait();
    None
}
