//go:build unix && !linux

package servertest

import "syscall"

func dieWithParent(*syscall.SysProcAttr) {}
