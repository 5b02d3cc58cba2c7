"""Office documents made on the spot, as small as LibreOffice reads them."""

from __future__ import annotations

from tests.pages import fax_files as make

_MAIN = "http://schemas.openxmlformats.org"
_REL = f"{_MAIN}/officeDocument/2006/relationships"
_OPEN = "urn:oasis:names:tc:opendocument:xmlns"


def _package(main: str, content_type: str, files: dict[str, str]) -> bytes:
    types = (
        f'<Types xmlns="{_MAIN}/package/2006/content-types"><Default Extension="rels" '
        'ContentType="application/vnd.openxmlformats-package.relationships+xml"/><Default Extension="xml" '
        f'ContentType="application/xml"/><Override PartName="/{main}" ContentType="{content_type}"/>'
        + "".join(f'<Override PartName="/{name}" ContentType="{_type_of(name)}"/>' for name in files if _type_of(name))
        + "</Types>"
    )
    rels = (
        f'<Relationships xmlns="{_MAIN}/package/2006/relationships"><Relationship Id="r1" '
        f'Type="{_REL}/officeDocument" Target="{main}"/></Relationships>'
    )
    whole = {"[Content_Types].xml": types, "_rels/.rels": rels, **files}
    return make.zipped({name: content.encode() for name, content in whole.items()})


def _type_of(name: str) -> str:
    kinds = {
        "xl/worksheets/": "spreadsheetml.worksheet+xml",
        "ppt/slides/slide": "presentationml.slide+xml",
        "ppt/slideLayouts/slide": "presentationml.slideLayout+xml",
        "ppt/slideMasters/slide": "presentationml.slideMaster+xml",
    }
    found = next((kind for start, kind in kinds.items() if name.startswith(start)), "")
    return f"application/vnd.openxmlformats-officedocument.{found}" if found else ""


def _relations(*targets: tuple[str, str]) -> str:
    inner = "".join(
        f'<Relationship Id="r{n}" Type="{_REL}/{kind}" Target="{target}"/>' for n, (kind, target) in enumerate(targets, 1)
    )
    return f'<Relationships xmlns="{_MAIN}/package/2006/relationships">{inner}</Relationships>'


def docx(*paragraphs: str, inside: str = "") -> bytes:
    body = "".join(f"<w:p><w:r><w:t>{words}</w:t></w:r></w:p>" for words in paragraphs)
    document = f'<w:document xmlns:w="{_MAIN}/wordprocessingml/2006/main"><w:body>{body}{inside}</w:body></w:document>'
    kind = "application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"
    return _package("word/document.xml", kind, {"word/document.xml": document})


def xlsx(rows: int = 2, word: str = "cell") -> bytes:
    cells = "".join(f'<row r="{n}"><c r="A{n}" t="inlineStr"><is><t>{word} {n}</t></is></c></row>' for n in range(1, rows + 1))
    space = f'xmlns="{_MAIN}/spreadsheetml/2006/main"'
    workbook = f'<workbook {space} xmlns:r="{_REL}"><sheets><sheet name="S" sheetId="1" r:id="r1"/></sheets></workbook>'
    return _package(
        "xl/workbook.xml",
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet.main+xml",
        {
            "xl/workbook.xml": workbook,
            "xl/_rels/workbook.xml.rels": _relations(("worksheet", "worksheets/sheet1.xml")),
            "xl/worksheets/sheet1.xml": f"<worksheet {space}><sheetData>{cells}</sheetData></worksheet>",
        },
    )


def pptx(words: str) -> bytes:
    space = f'xmlns:a="{_MAIN}/drawingml/2006/main" xmlns:r="{_REL}" xmlns:p="{_MAIN}/presentationml/2006/main"'
    head = '<p:nvGrpSpPr><p:cNvPr id="1" name=""/><p:cNvGrpSpPr/><p:nvPr/></p:nvGrpSpPr><p:grpSpPr/>'
    shape = (
        '<p:sp><p:nvSpPr><p:cNvPr id="2" name="t"/><p:cNvSpPr txBox="1"/><p:nvPr/></p:nvSpPr><p:spPr><a:xfrm>'
        '<a:off x="900000" y="900000"/><a:ext cx="6000000" cy="900000"/></a:xfrm><a:prstGeom prst="rect"/></p:spPr>'
        f"<p:txBody><a:bodyPr/><a:p><a:r><a:t>{words}</a:t></a:r></a:p></p:txBody></p:sp>"
    )
    colours = " ".join(
        f'{one}="{other}"'
        for one, other in (
            ("bg1", "lt1"),
            ("tx1", "dk1"),
            ("bg2", "lt2"),
            ("tx2", "dk2"),
            ("hlink", "hlink"),
            ("folHlink", "folHlink"),
        )
    ) + "".join(f' accent{n}="accent{n}"' for n in range(1, 7))
    tree = f"<p:cSld><p:spTree>{head}{{}}</p:spTree></p:cSld>"
    return _package(
        "ppt/presentation.xml",
        "application/vnd.openxmlformats-officedocument.presentationml.presentation.main+xml",
        {
            "ppt/presentation.xml": (
                f'<p:presentation {space}><p:sldMasterIdLst><p:sldMasterId id="2147483648" r:id="r1"/></p:sldMasterIdLst>'
                '<p:sldIdLst><p:sldId id="256" r:id="r2"/></p:sldIdLst><p:sldSz cx="9144000" cy="6858000"/></p:presentation>'
            ),
            "ppt/_rels/presentation.xml.rels": _relations(
                ("slideMaster", "slideMasters/slideMaster1.xml"), ("slide", "slides/slide1.xml")
            ),
            "ppt/slides/slide1.xml": f"<p:sld {space}>{tree.format(shape)}</p:sld>",
            "ppt/slides/_rels/slide1.xml.rels": _relations(("slideLayout", "../slideLayouts/slideLayout1.xml")),
            "ppt/slideLayouts/slideLayout1.xml": f"<p:sldLayout {space}>{tree.format('')}</p:sldLayout>",
            "ppt/slideLayouts/_rels/slideLayout1.xml.rels": _relations(("slideMaster", "../slideMasters/slideMaster1.xml")),
            "ppt/slideMasters/slideMaster1.xml": f"<p:sldMaster {space}>{tree.format('')}<p:clrMap {colours}/></p:sldMaster>",
            "ppt/slideMasters/_rels/slideMaster1.xml.rels": _relations(("slideLayout", "../slideLayouts/slideLayout1.xml")),
        },
    )


def opened(kind: str, words: str, *, enciphered: bool = False) -> bytes:
    """An odt, ods or odp with these words."""
    name = {"odt": "text", "ods": "spreadsheet", "odp": "presentation"}[kind]
    inner = {
        "odt": f"<text:p>{words}</text:p>",
        "ods": f"<table:table><table:table-row><table:table-cell><text:p>{words}</text:p></table:table-cell>"
        "</table:table-row></table:table>",
        "odp": f'<draw:page draw:name="1"><draw:frame svg:x="2cm" svg:y="2cm" svg:width="15cm" svg:height="3cm"><draw:text-box>'
        f"<text:p>{words}</text:p></draw:text-box></draw:frame></draw:page>",
    }[kind]
    spaces = " ".join(f'xmlns:{one}="{_OPEN}:{one}:1.0"' for one in ("office", "text", "table"))
    spaces += f' xmlns:draw="{_OPEN}:drawing:1.0" xmlns:svg="{_OPEN}:svg-compatible:1.0" office:version="1.3"'
    body = f"<office:body><office:{name}>{inner}</office:{name}></office:body>"
    content = f"<office:document-content {spaces}>{body}</office:document-content>"
    media = f"application/vnd.oasis.opendocument.{name}"
    secret = "<manifest:encryption-data/>" if enciphered else ""
    manifest = (
        f'<manifest:manifest xmlns:manifest="{_OPEN}:manifest:1.0" manifest:version="1.3">'
        f'<manifest:file-entry manifest:full-path="/" manifest:media-type="{media}"/>'
        f'<manifest:file-entry manifest:full-path="content.xml" manifest:media-type="text/xml">{secret}</manifest:file-entry>'
        "</manifest:manifest>"
    )
    return make.zipped(
        {"mimetype": media.encode(), "content.xml": content.encode(), "META-INF/manifest.xml": manifest.encode()}
    )


def rtf(words: str) -> bytes:
    return rb"{\rtf1\ansi\deff0{\fonttbl{\f0 Liberation Serif;}}\f0\fs24 " + words.encode() + b"}"
