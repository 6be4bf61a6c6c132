//! The `polymorph` program.

mod cli;
mod command;
mod control;
mod fetching;
mod home;
mod interrupt;
mod media_service;
mod memory;
mod output;
mod overlay_text;
mod patience;
mod providers;
mod running;

fn main() -> std::process::ExitCode {
    cli::main()
}
