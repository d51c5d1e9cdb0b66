"""Attaches a program that allows every device to the cgroup v2 that is named (bpf(2), BPF_CGROUP_DEVICE); it stays as long as that does."""

import ctypes
import os
import struct
import sys

BPF_PROG_LOAD, BPF_PROG_ATTACH = 5, 8
BPF_PROG_TYPE_CGROUP_DEVICE, BPF_CGROUP_DEVICE, BPF_F_ALLOW_MULTI = 15, 6, 2
SYS_BPF = 321


def bpf(command, *attributes):
    attributes = ctypes.create_string_buffer(struct.pack(*attributes), 128)
    result = ctypes.CDLL(None).syscall(SYS_BPF, command, attributes, 128)
    return result if result >= 0 else sys.exit("bpf(2) fails")


# r0 = 1; exit
program = ctypes.create_string_buffer(struct.pack("<BBhiBBhi", 0xB7, 0, 0, 1, 0x95, 0, 0, 0))
licence = ctypes.create_string_buffer(b"Apache-2.0")
pointers = ctypes.addressof(program), ctypes.addressof(licence)
loaded = bpf(BPF_PROG_LOAD, "<IIQQ", BPF_PROG_TYPE_CGROUP_DEVICE, 2, *pointers)
cgroup = os.open(sys.argv[1], os.O_RDONLY)
bpf(BPF_PROG_ATTACH, "<IIII", cgroup, loaded, BPF_CGROUP_DEVICE, BPF_F_ALLOW_MULTI)
