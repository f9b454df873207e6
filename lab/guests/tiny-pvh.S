/* The smallest useful PVH guest: 32-bit, no paging, no interrupts, no devices. It does what its command line says:
 * poweroff, reboot, suspend, crash or watchdog ask Xen to shut it down for that reason; anything else idles for ever
 * and never answers a request to shut down.
 *
 * Entered with %ebx = physical address of struct hvm_start_info. */

#define XEN_ELFNOTE_PHYS32_ENTRY 18
#define CMDLINE_PADDR            24        /* in struct hvm_start_info */
#define XEN_CPUID_HYPERCALLS     0x40000002
#define SCHED_OP                 29
#define SCHEDOP_SHUTDOWN         2
#define HYPERCALL_PAGE           0x8000    /* plain memory, far from this image and from what Xen puts near the top */

        .section .note, "a", @note
        .balign 4
        .long 4, 4, XEN_ELFNOTE_PHYS32_ENTRY
        .asciz "Xen"
        .long _start

        .text
        .globl _start
_start: mov     $stack_end, %esp
        mov     CMDLINE_PADDR(%ebx), %esi
        test    %esi, %esi
        jz      idle

        mov     $actions, %edi             /* find the action whose name the command line begins with */
next:   movzbl  (%edi), %ebp               /* reason */
        inc     %edi
        mov     %esi, %edx
1:      mov     (%edi), %al
        inc     %edi
        test    %al, %al
        jz      shutdown                   /* the whole name matched */
        cmp     (%edx), %al
        jne     2f
        inc     %edx
        jmp     1b
2:      cmpb    $0, (%edi)                 /* skip the rest of this name */
        lea     1(%edi), %edi
        jne     2b
        cmpb    $0xff, (%edi)
        jne     next

idle:   sti                                /* a halt with interrupts off would power the guest off */
1:      hlt
        jmp     1b

shutdown:
        mov     $XEN_CPUID_HYPERCALLS, %eax
        cpuid
        mov     %ebx, %ecx                 /* the MSR that fills the hypercall page */
        mov     $HYPERCALL_PAGE, %eax
        xor     %edx, %edx
        wrmsr
        push    %ebp                       /* struct sched_shutdown */
        mov     $SCHEDOP_SHUTDOWN, %ebx
        mov     %esp, %ecx
        mov     $HYPERCALL_PAGE + 32 * SCHED_OP, %eax
        call    *%eax
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
        .byte   0xff

        .bss
        .balign 16
        .skip   256
stack_end:
