//! `completions`: what a shell needs to complete the command line.

use clap::builder::PossibleValuesParser;
use clap::{Command, CommandFactory};
use clap_complete::Shell;
use lfnn_core::backend::Precision;
use lfnn_core::method;
use lfnn_data::DatasetName;

use crate::cli::Cli;
use crate::failure::Result;
use crate::output::Output;
use crate::recipes;

/// Prints the completions for a shell.
///
/// # Errors
/// A standard output that cannot be written.
pub(crate) fn command(shell: Shell, output: &Output) -> Result {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut with_names(Cli::command()), "lfnn-cli", &mut script);
    let mut script = String::from_utf8_lossy(&script).into_owned();
    if shell == Shell::Bash {
        // clap_complete spells the hyphen of `lfnn-cli` in two ways (clap issue 6421), so that no command
        // but the first word completes. The words before the first command are spelled like this.
        script = script.replace("lfnn__subcmd__cli", "lfnn__cli");
    }
    output.result(&script)
}

/// The command line with the names that its arguments take. Parsing does without them, because its own
/// errors name the nearest one.
fn with_names(cli: Command) -> Command {
    let methods = method::names().to_vec();
    let precisions = Precision::ALL.map(Precision::name).to_vec();
    let recipes: Vec<_> = recipes::names().collect();
    let data_sets: Vec<_> = DatasetName::ALL.map(DatasetName::as_str).to_vec();
    let one_of = |command: Command, argument: &'static str, names: &[&'static str]| {
        let parser = PossibleValuesParser::new(names.iter().copied());
        command.mut_arg(argument, |argument| argument.value_parser(parser))
    };
    let configured = |command: Command| {
        let command = one_of(command, "recipe", &recipes);
        one_of(one_of(command, "method", &methods), "precision", &precisions)
    };
    cli.mut_subcommand("train", configured)
        .mut_subcommand("bench", configured)
        .mut_subcommand("recipes", |command| one_of(command, "name", &recipes))
        .mut_subcommand("reproduce", |command| {
            #[cfg(feature = "report")]
            let command =
                one_of(command, "target", &crate::reproduce::target_names().collect::<Vec<_>>());
            one_of(command, "recipes", &recipes)
        })
        .mut_subcommand("data", |data| {
            data.mut_subcommand("fetch", |command| one_of(command, "name", &data_sets))
                .mut_subcommand("verify", |command| one_of(command, "name", &data_sets))
        })
}
