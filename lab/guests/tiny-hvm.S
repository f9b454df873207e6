/* A boot sector for HVM guests: prints one line to the screen and to the first serial port, and halts for ever. */

        .code16
        .globl _start
_start: ljmp    $0, $1f
1:      xor     %ax, %ax
        mov     %ax, %ds
        mov     %ax, %ss
        mov     $0x7c00, %sp
        cld
        mov     $line, %si
next:   lodsb
        test    %al, %al
        jz      idle
        push    %ax
        mov     $0x0e, %ah                 /* BIOS: teletype output */
        xor     %bx, %bx
        int     $0x10
        pop     %ax
        mov     $0x3f8, %dx
        out     %al, %dx
        jmp     next
idle:   sti
        hlt
        jmp     idle

line:   .asciz  "pyxen-guest ready\r\n"

        .org    510
        .word   0xaa55
