//! The cached half of the virtual machine: Debian's cloud kernel, an initramfs, a root file system.

use super::{check, data_lines, make_ext4, output};
use anyhow::{Context, Result, bail};
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// Depends on the newest kernel of the kind; that one's package holds the files.
const KERNEL: &str = "linux-image-cloud-amd64";
const RELEASE: &str = "bookworm";
const IMAGE_BYTES: u64 = 2 << 30; // sparse; what is free in it is the guest's own disk space
const PACKAGES: &str = include_str!("../../vm/packages.txt");
const MODULES: &str = include_str!("../../vm/modules.txt");
const INIT: &str = include_str!("../../vm/initramfs.sh");
/// Raised when this file makes something else of the same data.
const VERSION: u32 = 1;

/// What qemu boots.
pub(super) struct Base {
    pub(super) kernel: PathBuf,
    pub(super) initramfs: PathBuf,
    pub(super) disk: PathBuf,
}

/// Returns the cached base; makes it first if there is none, if what it is made of changed, or if asked to.
pub(super) fn prepare(cache: &Path, rebuild: bool) -> Result<Base> {
    let directory = cache.join("base");
    let recipe = format!("{VERSION} {RELEASE} {KERNEL}\n{PACKAGES}{MODULES}{INIT}");
    let current = fs::read_to_string(directory.join("recipe")).is_ok_and(|cached| cached == recipe);
    if rebuild || !current {
        println!("vm: making the base image (kernel, Debian {RELEASE}) in {}", directory.display());
        // Made beside and renamed at the end: a directory with a recipe is complete.
        let new = cache.join("base.new");
        for old in [&new, &directory] {
            if old.exists() {
                fs::remove_dir_all(old).with_context(|| format!("remove {}", old.display()))?;
            }
        }
        fs::create_dir_all(&new).with_context(|| format!("create {}", new.display()))?;
        make(&new)?;
        fs::write(new.join("recipe"), &recipe).context("write the recipe")?;
        fs::rename(&new, &directory).with_context(|| format!("rename {}", new.display()))?;
    }
    Ok(Base {
        kernel: directory.join("vmlinuz"),
        initramfs: directory.join("initramfs"),
        disk: directory.join("disk"),
    })
}

fn make(directory: &Path) -> Result<()> {
    let kernel = directory.join("kernel");
    fetch_kernel(directory, &kernel)?;
    let release = kernel_release(&kernel)?;
    fs::copy(kernel.join(format!("boot/vmlinuz-{release}")), directory.join("vmlinuz"))
        .context("copy the kernel")?;
    make_initramfs(directory, &kernel.join("lib/modules").join(&release))?;
    make_root(directory, &kernel, &release)?;
    fs::remove_dir_all(&kernel).context("remove the unpacked kernel")
}

/// Downloads and unpacks the kernel's package without installing it.
fn fetch_kernel(directory: &Path, kernel: &Path) -> Result<()> {
    let depends = output(Command::new("apt-cache").args(["depends", KERNEL]))?;
    let Some(package) = depends.lines().find_map(|line| line.trim().strip_prefix("Depends: ")) else {
        bail!("apt-cache names no kernel that {KERNEL} depends on: run apt-get update");
    };
    check(Command::new("apt-get").args(["-qq", "download", package]).current_dir(directory))?;
    let archive = fs::read_dir(directory)
        .context("list the downloaded packages")?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.extension().is_some_and(|extension| extension == "deb"))
        .with_context(|| format!("apt-get download {package} left no package"))?;
    check(Command::new("dpkg").arg("-x").args([&archive, kernel]))?;
    fs::remove_file(&archive).with_context(|| format!("remove {}", archive.display()))
}

fn kernel_release(kernel: &Path) -> Result<String> {
    let modules = kernel.join("lib/modules");
    let mut names = fs::read_dir(&modules).with_context(|| format!("list {}", modules.display()))?;
    let name = names.next().context("the kernel's package has no modules")??.file_name();
    name.into_string().map_err(|name| anyhow::anyhow!("the kernel's release {name:?} is not UTF-8"))
}

/// busybox, the drivers that reach the disks, and the script that loads them, as an uncompressed cpio archive.
fn make_initramfs(directory: &Path, modules: &Path) -> Result<()> {
    let tree = directory.join("initramfs.d");
    for name in ["bin", "dev", "root", "modules"] {
        fs::create_dir_all(tree.join(name)).context("create the initramfs")?;
    }
    fs::copy("/bin/busybox", tree.join("bin/busybox")).context("copy /bin/busybox")?;
    let mut order = String::new();
    for module in data_lines(MODULES) {
        let file = format!("{}.ko", module.rsplit('/').next().unwrap_or(module));
        let source = modules.join(format!("kernel/drivers/{module}.ko"));
        fs::copy(&source, tree.join("modules").join(&file))
            .with_context(|| format!("copy {}", source.display()))?;
        order += &format!("{file}\n");
    }
    fs::write(tree.join("modules/order"), order).context("write the modules' order")?;
    fs::write(tree.join("init"), INIT).context("write init")?;
    fs::set_permissions(tree.join("init"), fs::Permissions::from_mode(0o755))
        .context("make init executable")?;
    let archive = fs::File::create(directory.join("initramfs")).context("create the initramfs")?;
    let mut cpio = Command::new("sh");
    cpio.args(["-c", "find . | busybox cpio -o -H newc"])
        .current_dir(&tree)
        .stdout(archive)
        .stderr(Stdio::null());
    check(&mut cpio)?;
    fs::remove_dir_all(&tree).context("remove the initramfs's tree")
}

/// A minimal Debian with every module of the kernel, so that the guest loads by name what a test happens to need.
fn make_root(directory: &Path, kernel: &Path, release: &str) -> Result<()> {
    let root = directory.join("root");
    let packages: Vec<&str> = data_lines(PACKAGES).collect();
    check(
        Command::new("mmdebstrap")
            .args(["--quiet", "--variant=apt", "--dpkgopt=force-unsafe-io"])
            .arg(format!("--include={}", packages.join(",")))
            .arg(RELEASE)
            .arg(&root),
    )?;
    let modules = root.join("usr/lib/modules");
    fs::create_dir_all(&modules).context("create the directory of modules")?;
    check(Command::new("cp").arg("-a").arg(kernel.join("lib/modules").join(release)).arg(modules))?;
    // The package leaves the index of modules to its installation.
    check(Command::new("chroot").arg(&root).args(["depmod", release]))?;
    fs::create_dir_all(root.join("payload")).context("create the payload's mount point")?;
    make_ext4(&directory.join("disk"), &root, IMAGE_BYTES)?;
    fs::remove_dir_all(&root).context("remove the unpacked root file system")
}
