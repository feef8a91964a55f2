# A guest of a few sectors for SeaBIOS. COM1: prints a banner and a prompt, answers in capitals,
# powers off at Ctrl-D. VGA: shows the banner, changes colour and shows the key when one is pressed.
# ACPI power button: powers off at press number PRESSES; with PRESSES=0 it never listens.
# PIT at 100 Hz wakes the loop, so an idle guest leaves the host's processor alone.

        .set    SECTORS, 4
        .set    COM1, 0x3f8
        .set    PM1_STATUS, 0x600       # SeaBIOS puts PIIX4's and ICH9's power management here
        .set    PM1_ENABLE, 0x602
        .set    PM1_CONTROL, 0x604
        .set    POWER_BUTTON, 1 << 8
        .set    SLEEP_S5, 1 << 13       # SLP_EN, and QEMU's sleep type for S5, which is 0
        .set    VGA_TEXT, 0xb800
        .set    VGA_CELLS, 80 * 25
        .set    CTRL_D, 4

        .intel_syntax noprefix
        .code16
        .text
        .globl  _start
_start: jmp     0:load
load:   xor     ax, ax
        mov     ds, ax
        mov     es, ax
        mov     ss, ax
        mov     sp, 0x7c00
        cld
        mov     ax, 0x200 + SECTORS - 1
        mov     bx, 0x7e00
        mov     cx, 2                   # cylinder 0, sector 2; dl still holds the boot drive
        xor     dh, dh
        int     0x13
        jnc     start
        mov     ax, 0xe00 + '!'         # the disk could not be read
        int     0x10
1:      hlt
        jmp     1b

        .org    510
        .word   0xaa55

start:  mov     ax, 3                   # 80x25 text, cleared
        int     0x10
        mov     bx, VGA_TEXT
        mov     es, bx

        mov     al, 0x34                # PIT channel 0, rate generator
        out     0x43, al
        mov     ax, 11932               # 1193182 Hz / 100
        out     0x40, al
        mov     al, ah
        out     0x40, al

        mov     dx, COM1 + 2            # FIFO on
        mov     al, 7
        out     dx, al

.if PRESSES
        mov     dx, PM1_ENABLE          # without this bit QEMU drops the event
        mov     ax, POWER_BUTTON
        out     dx, ax
.endif
        mov     si, offset banner
        call    print
        call    paint
        sti

idle:   hlt
serial: mov     dx, COM1 + 5
        in      al, dx
        test    al, 1
        jz      keyboard
        mov     dx, COM1
        in      al, dx
        call    answer
        jmp     serial

keyboard:
        mov     ah, 1
        int     0x16
        jz      button
        xor     ah, ah
        int     0x16
        mov     [key], al
        inc     byte ptr [colour]
        call    paint
        mov     si, offset key_seen
        call    print

button:
.if PRESSES
        mov     dx, PM1_STATUS
        in      ax, dx
        test    ax, POWER_BUTTON
        jz      idle
        mov     ax, POWER_BUTTON        # writing the bit clears it
        out     dx, ax
        mov     si, offset button_seen
        call    print
        dec     byte ptr [presses]
        jz      power_off
.endif
        jmp     idle

power_off:
        mov     si, offset farewell
        call    print
        mov     dx, PM1_CONTROL
        mov     ax, SLEEP_S5
        out     dx, ax
1:      hlt
        jmp     1b

# al: the character that was typed
answer: cmp     al, CTRL_D
        je      power_off
        cmp     al, '\r'
        je      2f
        cmp     al, 'a'
        jb      1f
        cmp     al, 'z'
        ja      1f
        sub     al, 'a' - 'A'
1:      jmp     send
2:      mov     si, offset prompt
        # fall through

# si: text, ended by a zero
print:  lodsb
        test    al, al
        jz      1f
        call    send
        jmp     print
1:      ret

# al: one byte for COM1
send:   push    ax
        mov     dx, COM1 + 5
1:      in      al, dx
        test    al, 0x20
        jz      1b
        pop     ax
        mov     dx, COM1
        out     dx, al
        ret

# The whole screen in the next of eight backgrounds, the title and the last key on it
paint:  mov     ah, [colour]
        shl     ah, 4
        and     ah, 0x70
        or      ah, 0x0f
        mov     al, ' '
        xor     di, di
        mov     cx, VGA_CELLS
        rep     stosw
        mov     di, (10 * 80 + 30) * 2
        mov     si, offset title
1:      lodsb
        test    al, al
        jz      2f
        stosw
        jmp     1b
2:      mov     di, (12 * 80 + 30) * 2
        mov     si, offset key_text
3:      lodsb
        test    al, al
        jz      4f
        stosw
        jmp     3b
4:      ret

colour: .byte   1
presses: .byte  PRESSES
banner: .ascii  "\r\nVMOPS-GUEST-UP"
prompt: .asciz  "\r\n> "
key_seen: .ascii "\r\n"
key_text: .ascii "VMOPS-KEY "
key:    .asciz  " "
button_seen: .asciz "\r\nVMOPS-POWER-BUTTON"
farewell: .asciz "\r\nVMOPS-POWER-OFF\r\n"
title:  .asciz  "VMOPS-GUEST-UP"

        .org    SECTORS * 512
