//! `cupola stack ...`: builds, lists, shows and deletes stacks.

use crate::config::{Config, Overrides};
use anyhow::{Context, Result};
use cupola_protocol::Bytes;
use rootfs::{Built, Options, Progress, Recipe, Store};
use std::{
    io::{IsTerminal, Write},
    path::PathBuf,
};

/// Verbs of `cupola stack`.
#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Make a stack from its recipe, unless it is there (as root)
    Build {
        /// The recipe: `cupola` with every runtime, `minimal`, or `services` with PostgreSQL and Redis
        #[arg(default_value = "cupola")]
        recipe: String,
        /// The same, by another name
        #[arg(long, value_name = "RECIPE", conflicts_with = "recipe")]
        profile: Option<String>,
        /// Make it again although it is there
        #[arg(long)]
        force: bool,
        /// Package sources, one-line or deb822 style, in the stead of this machine's own
        #[arg(long, value_name = "FILE")]
        sources: Option<PathBuf>,
        #[command(flatten)]
        place: Overrides,
    },
    /// The stacks that there are
    List {
        #[command(flatten)]
        place: Overrides,
    },
    /// One stack: its digest, when it was made, its packages
    Show {
        /// The stack
        name: String,
        #[command(flatten)]
        place: Overrides,
    },
    /// Delete a stack; containers that run on it keep it until they end
    Delete {
        /// The stack
        name: String,
        #[command(flatten)]
        place: Overrides,
    },
}

/// Runs the command.
pub(crate) fn run(command: Command) -> Result<()> {
    match command {
        Command::Build { recipe, profile, force, sources, place } => {
            build(&profile.unwrap_or(recipe), Options { force, sources }, &place)
        }
        Command::List { place } => list(&place),
        Command::Show { name, place } => show(&name, &place),
        Command::Delete { name, place } => delete(&name, &place),
    }
}

fn store(place: &Overrides) -> Result<Store> {
    let directory = Config::load(place)?.platform.stacks_dir();
    Store::open(&directory).with_context(|| format!("cannot open the stacks in {}", directory.display()))
}

fn build(recipe: &str, options: Options, place: &Overrides) -> Result<()> {
    let recipe = Recipe::named(recipe)?;
    let store = store(place)?;
    let terminal = std::io::stdout().is_terminal();
    let built = rootfs::build(&store, &recipe, &options, &mut |progress| match progress {
        Progress::Waiting => println!("waiting for another build in {}", store.folder().display()),
        Progress::Phase { phase, elapsed } => println!("{:>6.1} s  {}", elapsed.as_secs_f64(), phase.words()),
        // What the package manager says is worth a line only where it can be wiped out again.
        Progress::Line(line) if terminal => {
            let shown: String = line.chars().take(100).collect();
            print!("\r\x1b[K          {shown}\r");
            let _ = std::io::stdout().flush();
        }
        Progress::Line(_) => {}
    })?;
    if terminal {
        print!("\r\x1b[K");
    }
    match built {
        Built::New(stack) => {
            let receipt = store.show(&stack.name)?;
            println!(
                "stack {} is ready: {}, {} packages, made in {} s",
                stack.name,
                Bytes(receipt.bytes),
                receipt.packages.len(),
                receipt.build_seconds
            );
        }
        Built::Present(stack) => {
            println!("stack {} is up to date ({})", stack.name, &stack.digest[..12.min(stack.digest.len())])
        }
    }
    Ok(())
}

fn list(place: &Overrides) -> Result<()> {
    let store = store(place)?;
    let stacks = store.list()?;
    if stacks.is_empty() {
        println!("there is no stack in {}: make one with `cupola stack build`", store.folder().display());
        return Ok(());
    }
    println!("{:<16} {:<14} {:>9} {:>9}", "name", "digest", "size", "packages");
    for rootfs::Entry { name, stack } in stacks {
        match stack.and_then(|stack| Ok((store.show(&name)?, stack))) {
            Ok((receipt, stack)) => println!(
                "{name:<16} {:<14} {:>9} {:>9}",
                &stack.digest[..12.min(stack.digest.len())],
                Bytes(receipt.bytes).to_string(),
                receipt.packages.len()
            ),
            Err(error) => println!("{name:<16} damaged: {:#}", anyhow::Error::new(error)),
        }
    }
    Ok(())
}

fn show(name: &str, place: &Overrides) -> Result<()> {
    let store = store(place)?;
    let stack = store.find(name)?;
    let receipt = store.show(name)?;
    println!("name      {}", receipt.name);
    println!("recipe    {} ({})", receipt.recipe, receipt.recipe_digest);
    println!("image     {}", stack.path.display());
    println!("sha256    {}", receipt.sha256);
    println!("size      {}", Bytes(receipt.bytes));
    println!("packages  {}", receipt.packages.len());
    for package in &receipt.packages {
        println!("  {} {} {}", package.name, package.version, package.architecture);
    }
    Ok(())
}

fn delete(name: &str, place: &Overrides) -> Result<()> {
    let deleted = store(place)?.delete(name)?;
    println!("stack {name} is deleted; {} are free again", Bytes(deleted.bytes));
    Ok(())
}
