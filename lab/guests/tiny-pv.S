/* The smallest useful PV guest: 64-bit, hypercalls by `syscall`, no event handlers, no devices. It does what its
 * command line says: poweroff, reboot, suspend, crash or watchdog ask Xen to shut it down for that reason; willing
 * waits for the toolstack's requests and follows them (willing.c); anything else idles for ever and never answers a
 * request to shut down.
 *
 * Entered with %rsi = address of struct start_info. */

#define XEN_ELFNOTE_ENTRY         1
#define XEN_ELFNOTE_VIRT_BASE     3
#define XEN_ELFNOTE_PADDR_OFFSET  4
#define XEN_ELFNOTE_XEN_VERSION   5
#define XEN_ELFNOTE_GUEST_OS      6
#define XEN_ELFNOTE_LOADER        8
#define XEN_ELFNOTE_SUSPEND_CANCEL 14
#define CMD_LINE                  128      /* in struct start_info */
#define SCHED_OP                  29
#define SCHEDOP_SHUTDOWN          2
#define SCHEDOP_POLL              3
#define WILLING                   0xfe     /* no reason to shut down */

        .macro  note type, directive, value:vararg
        .pushsection .note, "a", @note
        .balign 4
        .long   4, 2f - 1f, \type
        .asciz  "Xen"
1:      \directive \value
2:      .balign 4
        .popsection
        .endm

        note    XEN_ELFNOTE_GUEST_OS, .asciz, "pyxen"
        note    XEN_ELFNOTE_XEN_VERSION, .asciz, "xen-3.0"
        note    XEN_ELFNOTE_LOADER, .asciz, "generic"
        note    XEN_ELFNOTE_VIRT_BASE, .quad, 0
        note    XEN_ELFNOTE_PADDR_OFFSET, .quad, 0
        note    XEN_ELFNOTE_ENTRY, .quad, _start
        note    XEN_ELFNOTE_SUSPEND_CANCEL, .long, 1    /* it goes on where it was if a suspend comes to nothing */

        .text
        .globl _start
_start: lea     stack_end(%rip), %rsp
        mov     %rsi, %rbx
        lea     CMD_LINE(%rsi), %rsi

        lea     actions(%rip), %rdi        /* find the action whose name the command line begins with */
next:   movzbl  (%rdi), %ebp               /* reason */
        inc     %rdi
        mov     %rsi, %rdx
1:      mov     (%rdi), %al
        inc     %rdi
        test    %al, %al
        jz      found                      /* the whole name matched */
        cmp     (%rdx), %al
        jne     2f
        inc     %rdx
        jmp     1b
2:      cmpb    $0, (%rdi)                 /* skip the rest of this name */
        lea     1(%rdi), %rdi
        jne     2b
        cmpb    $0xff, (%rdi)
        jne     next

idle:   xor     %eax, %eax                 /* struct sched_poll: no ports, no timeout */
        push    %rax
        push    %rax
        push    %rax
1:      mov     $SCHED_OP, %eax
        mov     $SCHEDOP_POLL, %edi
        mov     %rsp, %rsi
        syscall
        jmp     1b

found:  cmp     $WILLING, %ebp
        jne     shutdown
        mov     %rbx, %rdi
        call    willing

shutdown:
        push    %rbp                       /* struct sched_shutdown */
        mov     $SCHED_OP, %eax
        mov     $SCHEDOP_SHUTDOWN, %edi
        mov     %rsp, %rsi
        syscall
        jmp     idle

actions:
        .byte   0
        .asciz  "poweroff"
        .byte   1
        .asciz  "reboot"
        .byte   2
        .asciz  "suspend"
        .byte   3
        .asciz  "crash"
        .byte   4
        .asciz  "watchdog"
        .byte   WILLING
        .asciz  "willing"
        .byte   0xff

        .bss
        .balign 16
        .skip   4096
stack_end:
