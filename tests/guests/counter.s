# A guest of one sector for SeaBIOS that counts: a banner on COM1, and then, eighteen times a second,
# a line with a number that is one more than the last.

        .set    COM1, 0x3f8

        .intel_syntax noprefix
        .code16
        .text
        .globl  _start
_start: jmp     0:start
start:  xor     ax, ax
        mov     ds, ax
        mov     es, ax
        mov     ss, ax
        mov     sp, 0x7c00
        cld
        mov     si, offset banner
        call    print
        xor     ebx, ebx
line:   sti
        hlt                             # until the timer of the BIOS
        inc     ebx
        mov     eax, ebx
        mov     di, offset number + 7
        mov     cx, 8
digit:  mov     dl, al
        and     dl, 15
        add     dl, '0'
        cmp     dl, '9'
        jbe     1f
        add     dl, 'A' - '0' - 10
1:      mov     [di], dl
        dec     di
        shr     eax, 4
        loop    digit
        mov     si, offset text
        call    print
        jmp     line

print:  lodsb
        test    al, al
        jz      2f
        push    ax
        mov     dx, COM1 + 5
1:      in      al, dx
        test    al, 0x20
        jz      1b
        pop     ax
        mov     dx, COM1
        out     dx, al
        jmp     print
2:      ret

banner: .asciz  "\r\nVMOPS-GUEST-UP\r\n"
text:   .ascii  "COUNT "
number: .asciz  "00000000\r\n"

        .org    510
        .word   0xaa55
