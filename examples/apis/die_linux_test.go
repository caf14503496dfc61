package main

import (
	"os/exec"
	"syscall"
)

// dieWithParent lets the kernel end a program whose test was killed.
func dieWithParent(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
