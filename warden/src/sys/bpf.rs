//! The device filter of cgroup v2: a program of the type `BPF_PROG_TYPE_CGROUP_DEVICE` (uapi linux/bpf.h), written by
//! hand, since it is a comparison per device and needs neither maps nor functions of the kernel's.

use super::{check, fd};
use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

/// A character device, or all of one major number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Device {
    pub(crate) major: u16,
    pub(crate) minor: Option<u16>,
}

const BPF_PROG_LOAD: libc::c_int = 5;
const BPF_PROG_ATTACH: libc::c_int = 8;
const PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const CGROUP_DEVICE: u32 = 6;
/// `BPF_DEVCG_DEV_CHAR`, in the low half of the context's `access_type`.
const CHARACTER: i32 = 2;

/// Argument of `BPF_PROG_LOAD` up to `prog_flags`.
#[repr(C)]
#[derive(Default)]
struct Load {
    kind: u32,
    count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
}

/// Argument of `BPF_PROG_ATTACH` up to `attach_flags`.
#[repr(C)]
#[derive(Default)]
struct Attach {
    target: u32,
    program: u32,
    kind: u32,
    flags: u32,
}

/// One instruction of eBPF: operation, destination and source register, offset, number.
type Instruction = u64;

const fn instruction(code: u8, destination: u8, source: u8, offset: i16, number: i32) -> Instruction {
    code as u64
        | (destination as u64) << 8
        | (source as u64) << 12
        | (offset as u16 as u64) << 16
        | (number as u32 as u64) << 32
}

// Operations (Documentation/bpf/standardization/instruction-set.rst).
const LOAD_WORD: u8 = 0x61;
const AND: u8 = 0x57;
const MOVE: u8 = 0xb7;
const JUMP_IF_NOT: u8 = 0x55;
const JUMP_IF: u8 = 0x15;
const EXIT: u8 = 0x95;

/// A program that answers 1 for these character devices and 0 for everything else. The context that register 1 points to
/// is `struct bpf_cgroup_dev_ctx`: access and type, major, minor, each a word.
fn program(devices: &[Device]) -> Vec<Instruction> {
    let mut all = vec![
        instruction(LOAD_WORD, 2, 1, 0, 0),
        instruction(LOAD_WORD, 3, 1, 4, 0),
        instruction(LOAD_WORD, 4, 1, 8, 0),
        instruction(AND, 2, 0, 0, 0xffff),
        instruction(MOVE, 0, 0, 0, 0),
        instruction(JUMP_IF, 2, 0, 1, CHARACTER),
        instruction(EXIT, 0, 0, 0, 0),
    ];
    for device in devices {
        let major = i32::from(device.major);
        match device.minor {
            // Past the rest of this device's instructions unless it is the one.
            Some(minor) => all.extend([
                instruction(JUMP_IF_NOT, 3, 0, 3, major),
                instruction(JUMP_IF_NOT, 4, 0, 2, i32::from(minor)),
            ]),
            None => all.push(instruction(JUMP_IF_NOT, 3, 0, 2, major)),
        }
        all.extend([instruction(MOVE, 0, 0, 0, 1), instruction(EXIT, 0, 0, 0, 0)]);
    }
    all.push(instruction(EXIT, 0, 0, 0, 0));
    all
}

/// Lets processes in this cgroup, and in those below it, open and make these devices and no others. What an earlier call
/// has allowed there holds no more.
pub(crate) fn allow_devices(cgroup: BorrowedFd<'_>, devices: &[Device]) -> io::Result<()> {
    let program = load(&program(devices))?;
    // No flags: the one program of this cgroup, which replaces its predecessor.
    let attach = Attach {
        target: cgroup.as_raw_fd() as u32,
        program: program.as_raw_fd() as u32,
        kind: CGROUP_DEVICE,
        flags: 0,
    };
    // SAFETY: the argument lives through the call, which reads as many bytes as it is told.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, BPF_PROG_ATTACH, &raw const attach, size_of::<Attach>()) };
    check(result).map(drop)
}

fn load(instructions: &[Instruction]) -> io::Result<OwnedFd> {
    let load = Load {
        kind: PROG_TYPE_CGROUP_DEVICE,
        count: instructions.len() as u32,
        instructions: instructions.as_ptr() as u64,
        license: c"Apache-2.0".as_ptr() as u64,
        ..Load::default()
    };
    // SAFETY: the argument, the instructions and the license live through the call, which only reads them; their number
    // is told.
    let result = unsafe { libc::syscall(libc::SYS_bpf, BPF_PROG_LOAD, &raw const load, size_of::<Load>()) };
    fd::adopt(check(result)? as i32).ok_or(io::Error::from_raw_os_error(libc::EBADF))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a program on a context, as far as `program` uses the machine.
    fn run(program: &[Instruction], kind: u64, major: u64, minor: u64) -> u64 {
        let (mut registers, mut at) = ([0u64; 11], 0usize);
        loop {
            let word = program[at];
            let (code, destination) = (word as u8, (word >> 8) as usize & 15);
            let (offset, number) = ((word >> 16) as i16, (word >> 32) as i32 as u64);
            at += 1;
            match code {
                LOAD_WORD => registers[destination] = [kind, major, minor][offset as usize / 4],
                AND => registers[destination] &= number,
                MOVE => registers[destination] = number,
                JUMP_IF if registers[destination] == number => at += offset as usize,
                JUMP_IF_NOT if registers[destination] != number => at += offset as usize,
                JUMP_IF | JUMP_IF_NOT => (),
                EXIT => return registers[0],
                _ => panic!("unknown operation {code:#x}"),
            }
        }
    }

    #[test]
    fn the_filter_allows_what_is_listed_and_nothing_else() {
        let listed = [Device { major: 1, minor: Some(3) }, Device { major: 136, minor: None }];
        let program = program(&listed);
        let (read_write, make) = (6 << 16, 1 << 16);
        let (block, character) = (1, 2);
        assert_eq!(run(&program, read_write | character, 1, 3), 1);
        assert_eq!(run(&program, make | character, 1, 3), 1);
        assert_eq!(run(&program, read_write | character, 136, 7), 1);
        for (kind, major, minor) in
            [(character, 1, 1), (character, 2, 3), (character, 137, 7), (block, 1, 3), (block, 7, 0)]
        {
            assert_eq!(run(&program, read_write | kind, major, minor), 0, "{kind} {major}:{minor}");
        }
        assert_eq!(run(&super::program(&[]), read_write | character, 1, 3), 0);
    }
}
