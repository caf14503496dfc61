package servertest

import "syscall"

// dieWithParent lets the kernel end a server whose test was killed. It goes by the
// thread that started it; the Go runtime keeps its threads.
func dieWithParent(a *syscall.SysProcAttr) { a.Pdeathsig = syscall.SIGKILL }
