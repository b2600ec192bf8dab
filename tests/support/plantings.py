"""What must never be public, and what may be: the texts of `test_public`. Every secret here was made up."""

from __future__ import annotations

from base64 import b64encode
from urllib.parse import quote

_R = "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8s9T0u1V2w3X4"
PASSWORD = "hunter2-Xq9"

# Hosts that strangers do not reach, in every spelling.
PRIVATE_HOSTS = [
    "10.0.0.5", "10.0.0.5.", "192.168.1.7", "172.16.0.1", "172.31.255.254", "169.254.169.254", "100.64.0.1", "198.18.0.1", "192.0.0.8",
    "192.0.0.192", "192.88.99.1", "192.0.2.1", "224.0.0.1", "240.0.0.1", "255.255.255.255", "10.5", "10.0.5", "012.0.0.5", "0012.0.0.5",
    "10.0.0.05", "0x0a000005", "0xa.0.0.5", "0x0a.0x0.0x0.0x5", "167772165", "01200000005", "%31%30.0.0.5", "%31%30%2e0%2e0%2e5",
    "１０.0.0.5", "１０。０。０。５", "10．0．0．5", "⑩.0.0.5", "[64:ff9b::a00:5]", "[64:ff9b::10.0.0.5]", "[2002:a00:5::1]",
    "[::ffff:10.0.0.5]", "[::ffff:a00:5]", "[2001:0:a00:5::1]", "[fd00::1]", "[fe80::1]", "[fc00:1234::9]", "[2001:db8::1]", "[3fff::1]",
    "[::]", "[::10.0.0.5]", "[64:ff9b:1::a00:5]", "intranet", "minio", "db-1", "nas.local", "nas.local.", "x.localdomain", "vault.private",
    "db.prod.internal", "x.default.svc", "x.default.svc.cluster.local", "srv.test", "printer.home.arpa", "wiki.lan", "mail.corp", "x.home",
    "duckduckgogg42xjoc72x3sjasowoarfbgcmvfimaftt6twagswzczad.onion", "10.0.0.5.nip.io", "10-0-0-5.sslip.io", "0a000005.nip.io", "a.localtest.me",
    "lvh.me", "app.lvh.me", "ip-10-0-0-5.example.com", "10.0.0.5.example.com", "x.invalid", "x.example", "5.0.0.10.in-addr.arpa", "x.alt",
    "a..example.com", "-x.example.com", "nas.LOCAL", "NAS.Lan", "ｎａｓ.local", "nas%2elocal", "n\u00adas.lan", "bücher.intern",
]  # fmt: skip
LOOPBACK_HOSTS = [
    "localhost",
    "LOCALHOST",
    "localhost.",
    "a.localhost",
    "127.0.0.1",
    "127.1.2.3",
    "[::1]",
    "[::ffff:127.0.0.1]",
]
ODD_LOOPBACK = [
    "127.1",
    "2130706433",
    "0x7f000001",
    "0177.0.0.1",
    "１２７.0.0.1",
    "0.0.0.0",
    "[::]",
    "localhost.localdomain",
    "%6cocalhost",
]

# Userinfo of addresses.
CREDENTIALS = [
    f"bob:{PASSWORD}@",
    f"{_R}@",
    f":{PASSWORD}@",
    f"bob%3A{PASSWORD}%40x@",
    f"bob:{PASSWORD}:x@",
    f"bob@{PASSWORD}@",
]

# Parameters of presigned addresses, and others that let in.
PARAMETERS = [
    f"{name}={_R}"
    for name in ["X-Amz-Signature", "X-Amz-Credential", "X-Amz-Security-Token", "x-amz-signature", "X-Goog-Signature", "X-Goog-Credential", "Signature", "AWSAccessKeyId", "GoogleAccessId", "Policy", "Key-Pair-Id", "x-oss-signature", "x-oss-credential", "OSSAccessKeyId", "q-signature", "q-ak", "q-sign-algorithm", "X-Xet-Signature", "X-Obs-Signature", "x-cos-security-token", "sig", "sv", "se", "api_key", "apikey", "api-key", "access_token", "accessToken", "token", "rlkey", "hmac", "jwt", "auth", "pwd", "password", "security-token", "key", "secret", "hdnea", "st", "e", "Expires", "verify", "temp_url_sig", "md5", "code", "session", "ticket"]
]  # fmt: skip

# Secrets by their shape or the word before.
SECRETS = [
    "AKIAIOSFODNN7EXAMPL3", "ASIAIOSFODNN7EXAMPL3", f"AIza{_R[:35]}", f"ya29.{_R}", f"GOCSPX-{_R[:28]}", f"ghp_{_R[:36]}", f"gho_{_R[:36]}",
    f"ghs_{_R[:36]}", f"github_pat_{_R[:22]}_{_R}{_R[:11]}", f"glpat-{_R[:20]}", f"gldt-{_R[:20]}", f"hf_{_R[:34]}", f"xoxb-123456789012-{_R[:24]}",
    f"xoxp-123456789012-{_R[:24]}", f"xapp-1-A1B2-{_R[:24]}", f"https://hooks.slack.com/services/T0001/B0001/{_R[:24]}", f"sk_live_{_R[:24]}",
    f"rk_live_{_R[:24]}", f"whsec_{_R[:32]}", f"sk-{_R}", f"sk-proj-{_R}", f"sk-ant-api03-{_R}", f"npm_{_R[:36]}", f"pypi-AgEIcHlwaS5vcmc{_R}",
    f"SG.{_R[:22]}.{_R[:43]}", f"r8_{_R[:37]}", f"gsk_{_R}", f"1234567890:AA{_R[:33]}", f"dop_v1_{_R}{_R[:16]}",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U",
    "-----BEGIN PRIVATE KEY-----", "-----BEGIN RSA PRIVATE KEY-----", "-----BEGIN OPENSSH PRIVATE KEY-----", "-----BEGIN EC PRIVATE KEY-----",
    "-----BEGIN PGP PRIVATE KEY BLOCK-----", "AGE-SECRET-KEY-1QQPQZ4JX8YJ0QW3XN5LZV7K2M9T6R4D8C1B", "a2bc-3def-ghij-4klm", "abcd-efgh-2jkl-mnop",
    "qwrt-sdfg-zxcv-mnbq", f"alice.example.com:::did:plc:ewvi7nxzyoun6zhxrhs64oiz:::{_R}:::{_R}:::https://pds.example.com",
    f"DefaultEndpointsProtocol=https;AccountName=x;AccountKey={_R}{_R[:38]}==", f"password={PASSWORD}", f"PASSWORD: {PASSWORD}",
    f'{{"password": "{PASSWORD}"}}', f"{{'api_key': '{_R}'}}", f"export AWS_SECRET_ACCESS_KEY={_R[:40]}", f"aws_session_token = '{_R}'",
    f"client_secret={_R}", f"db_pwd={PASSWORD}", f"passphrase='{PASSWORD}'", f"Authorization: Bearer {_R}", f"bearer {_R}",
    f"Authorization: Basic {b64encode(f'bob:{PASSWORD}'.encode()).decode()}", f"basic {b64encode(f'bob:{PASSWORD}'.encode()).decode()}",
    f"bob:{PASSWORD}@db.example.com", f"host=db.example.com user=bob password={PASSWORD}", f"api-key={_R}", f"access_token := '{_R}'",
    f"curl -u bob:{PASSWORD} https://api.example.com", f"atdata --password {PASSWORD}", f"--hf-token {_R[:30]}", f"machine x login bob password {PASSWORD}",
    f"aws configure set aws_secret_access_key {_R[:40]}", f"GITHUB_TOKEN={'0123456789abcdef' * 3}", f"token: {_R}", f"DB_PASS={PASSWORD}", f"pass: {PASSWORD}",
    f"Cookie: session={_R}", f"dckr_pat_{_R[:27]}", f"hvs.{_R}", f"lin_api_{_R}", f"shpat_{'0123456789abcdef' * 2}", f"tskey-auth-{_R}", f"figd_{_R}",
]  # fmt: skip

# Paths of a machine.
PATHS = [
    "./shards/a.tar", "../data/a.tar", ".\\shards\\a.tar", "~/data/a.tar", "~bob/data/a.tar", "~\\data", "/home/bob/a.tar", "/Users/bob/a.tar",
    "/root/a.tar", "/mnt/nas/a.tar", "/media/bob/usb/a.tar", "/tmp/x/a.tar", "/var/lib/x", "/scratch/bob/run", "/data/imagenet/train", "/opt/x/y",
    "/gpfs/lab/a.tar", "/lab7/bob/a.tar", "/Volumes/USB/a.tar", "C:\\Users\\bob\\a.tar", "c:/Users/bob/a.tar", "D:\\data", "\\\\nas\\share\\a.tar",
    "\\\\?\\C:\\data\\a.tar", "//nas/share/a.tar", "file:///home/bob/a.tar", "file:/etc/passwd", "FILE:///data/a.tar", "$HOME/data/a.tar",
    "${HOME}/data", "%USERPROFILE%\\data", "nas:/export/a.tar", "sqlite:////home/bob/x.db", "%2Fhome%2Fbob%2Fa.tar", "\\u002fhome\\u002fbob", "\\x2fhome\\x2fbob",
    "**/home/bob/x**", "“/lab7/bob/a.tar”", "«/home/bob/x»", "→/home/bob/x", "数据在/home/bob/x", "、/mnt/nas/a.tar", "file%3A%2F%2F%2Fetc%2Fpasswd", "/proc/self/environ", "/workspace/run/a.tar", "/kaggle/input/x", "/dbfs/mnt/x",
]  # fmt: skip

LOCAL_RECORDS = [
    "at://atdata.local/science.alt.dataset.entry/3jzfcijpj2z2a", "atdata://local/dataset/rows@1.0.0", "AT://ATDATA.LOCAL/x",
    "local://schemas/rows.Row@1.0.0", "see at://atdata.local/a.b.c/d", "at%3A%2F%2Fatdata.local%2Fa",
]  # fmt: skip

# Hosts as they stand in a text without a scheme.
BARE_HOSTS = [
    "10.0.0.5", "192.168.1.7:9000", "127.0.0.1:8080", "localhost:9000", "nas.local", "db.prod.internal", "x.default.svc", "minio:9000/bucket/a.tar",
    "wiki.lan", "ssh bob@db.corp", "fd00:1234::1", "::ffff:10.0.0.5", "did:web:10.0.0.5", "did:web:localhost%3A3000", "[fe80::1]:80", "git@10.0.0.5:x.git",
    "printer.home.arpa", "2002:a00:5::1", "64:ff9b::a00:5", "vault.private:8200", "10.0.0.05", "10.0.0.5/24", "192.168.1.7/32", "scp bob@login1:/x/y z", "bob@nas:~/x",
]  # fmt: skip


def in_texts() -> list[str]:
    """What must be found wherever there is free text."""
    urls = [f"https://{host}/a.tar" for host in (*PRIVATE_HOSTS, *LOOPBACK_HOSTS, *ODD_LOOPBACK)]
    urls += [
        f"{scheme}://{info}host.example.com/a"
        for info in CREDENTIALS
        for scheme in ("https", "HTTPS", "s3", "postgresql", "ftp")
    ]
    urls += [f"https://cdn.example.com/a.tar?{pair}" for pair in PARAMETERS]
    urls += [f"https://cdn.example.com/a.tar?id=4&amp;{pair}" for pair in PARAMETERS[:8]]
    urls += [f"https://cdn.example.com/a.tar;{pair}" for pair in PARAMETERS[:8]]
    urls += [f"https://cdn.example.com/a.tar#{pair}" for pair in PARAMETERS[:8]]
    urls += [quote(f"https://cdn.example.com/a.tar?{pair}", safe="") for pair in PARAMETERS]
    urls += [
        quote(quote(f"https://bob:{PASSWORD}@host.example.com/", safe=""), safe=""),
        f"https:\\/\\/bob:{PASSWORD}@host.example.com\\/",
    ]
    urls += [
        f"https:\\\\bob:{PASSWORD}@host.example.com",
        f"https:///bob:{PASSWORD}@host.example.com",
        f"/a.tar?{PARAMETERS[0]}",
    ]
    urls += [
        f"https://mega.nz/file/AbCdEfGh#{_R}",
        f"redis://:{PASSWORD}@db.example.com:6379/0",
        "smb://nas/share",
        "redis://cache:6379/0",
    ]
    return [*urls, *SECRETS, *PATHS, *LOCAL_RECORDS, *BARE_HOSTS]


def in_addresses() -> list[str]:
    """What no field may be that is an address."""
    urls = [f"https://{host}/a.tar" for host in (*PRIVATE_HOSTS, *LOOPBACK_HOSTS, *ODD_LOOPBACK)]
    urls += [f"https://{info}cdn.example.com/a.tar" for info in CREDENTIALS]
    urls += [
        f"https://cdn.example.com/a.tar{mark}{pair}" for pair in (*PARAMETERS, "id=4", "v=1", "page=2") for mark in "?;"
    ]
    urls += [
        "https://cdn.example.com/a.tar#part",
        "https://cdn.example.com/a.tar?",
        "https://cdn.example.com/a.tar#",
        "a.tar",
        "",
        "https:",
        "https://",
    ]
    urls += [
        "http://cdn.example.com/a.tar",
        "ftp://cdn.example.com/a.tar",
        "javascript:alert(1)",
        "data:,x",
        "ssh://git@example.com/x",
        "HTTPS:cdn.example.com",
    ]
    urls += [
        "https://cdn.example.com\\@10.0.0.5/",
        "https://cdn.example.com:99999/a",
        "https://cdn.example.com /a",
        "https://{10.0.0.5,x}/a.tar",
        "//cdn.example.com/a",
    ]
    urls += [
        "https://cdn.example.com/a\n.tar",
        "https://é.example.com/a.tar",
        "s3://10.0.0.5/a",
        "s3://localhost/a",
        "s3:///a",
        "s3://k:s@b/a",
        "gs://b?x=1",
    ]
    return [*urls, *PATHS]


HARMLESS = [
    # Descriptions as data sets have them.
    "ImageNet-1k: 1,281,167 training images and 50,000 validation images in 1,000 classes (ILSVRC 2012).",
    "CIFAR-10 consists of 60000 32x32 colour images in 10 classes, with 6000 images per class.",
    "A cleaned crawl of the web in 101 languages; see https://arxiv.org/abs/2010.11934 and doi:10.18653/v1/2021.naacl-main.41.",
    "Recordings of 2,454 speakers at 16 kHz, 16 bit; train/dev/test = 80/10/10.", "Open 24/7; and/or; he/she; w/o; n/a; km/h; 1/2; 3.5/5.",
    "Version 2.0.1 (2024-05-17T08:30:00Z), supersedes v1.4.12.3 of 01/02/2023.", "~100k samples, about ~50/60 of them labelled, ±0.5 °C",
    "Images from Flickr (CC BY 4.0), metadata from Wikidata Q42; contact: data-team@example.org", "mailto:alice@example.org", "Email:bob@lab.example.org",
    "DOI 10.5281/zenodo.1234567", "https://doi.org/10.5281/zenodo.1234567", "arXiv:2303.08774v6 [cs.CL]", "hdl:10037/12345", "ISBN 978-3-16-148410-0",
    "PMID: 12345678; PMCID: PMC1234567", "ISSN 2049-3630", "ROR https://ror.org/05dxps055", "ORCID https://orcid.org/0000-0002-1825-0097", "GSE12345 / SRP012345",
    # Addresses that anybody may follow.
    "https://github.com/example/repo/blob/main/README.md#L10-L20", "https://en.wikipedia.org/wiki/Iris_(plant)#Taxonomy", "See https://example.com/data?id=42&page=2.",
    "https://www.youtube.com/watch?v=dQw4w9WgXcQ", "http://yann.lecun.com/exdb/mnist/", "[the paper](https://arxiv.org/pdf/1706.03762.pdf)", "<https://example.org/a>",
    "https://huggingface.co/datasets/mozilla-foundation/common_voice_17_0/tree/main", "https://zenodo.org/records/1234567", "https://8.8.8.8/dns-query",
    "https://[2001:4860:4860::8888]/dns-query", "https://xn--bcher-kva.example.com/a", "https://example.com:8443/a/b%20c", "ftp://ftp.ncbi.nlm.nih.gov/genomes/",
    "s3://open-images-dataset/train/", "gs://gcp-public-data-landsat/index.csv.gz", "hf://datasets/org/name/data.tar", "https://example.com/~bob/data/",
    "https://example.com/a/../b", "https://creativecommons.org/licenses/by/4.0/", "git+https://github.com/example/repo", "https://example.com/#/route/x",
    "https://json-schema.org/draft/2020-12/schema", "http://json-schema.org/draft-07/schema#", "https://json-schema.alt.science/atdata-ndarray-bytes/1.1.0#/$defs/ndarray",
    "at://did:plc:ewvi7nxzyoun6zhxrhs64oiz/science.alt.dataset.entry/3jzfcijpj2z2a", "atdata://alice.example.com/dataset/rows@1.0.0", "@alice.example.com/rows@1.0.0",
    "did:plc:ewvi7nxzyoun6zhxrhs64oiz", "did:web:example.com", "https://example.com/a.tar.", "(https://example.com)", '"https://example.com/x"', "wss://example.com/socket",
    # Hashes, names and numbers that look like secrets.
    "3b4a1e5d9c1f0a7b6e2d4c8a9f0b1e2d3c4b5a69788796a5b4c3d2e1f0a9b8c7", "d41d8cd98f00b204e9800998ecf8427e", "commit 3f786850e387550fdab836ed7e6dc881de23001b",
    "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08", "sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
    "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku", "QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWnPbdG", "123e4567-e89b-12d3-a456-426614174000",
    "urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6", "3jzfcijpj2z2a", "01ARZ3NDEKTSV4RRFFQ69G5FAV", "deep-fake-face-data", "open-clip-base-data", "this-that-then-when",
    "4111-2019-0808-1234", "AB12-CD34", "2024-01-01", "1e-5", "0x1F600", "#ff8800", "B0:00:11:22:33:44", "12:30:45.123", "3.14159265358979323846264338327950288",
    "ATGCGTACGTTAGCATGCGTACGTTAGCATGCGTACGTTAGCATGCGTACGTTAGC", "MKTAYIAKQRQISFVKSHFSRQLEERLGLIEVQAPILSRVGDGTQDNLSGAEKAVQVKVKALPDAQFEVV", "CC(=O)Oc1ccccc1C(=O)O",
    "InChI=1S/C9H8O4/c1-6(10)13-8-5-3-2-4-7(8)9(11)12/h2-5H,1H3,(H,11,12)", "ENST00000357654.9", "chr17:43044295-43125483", "rs80357713", "HLA-DRB1*15:01",
    # Networks, as papers name them.
    "10.0.0.0/8, 172.16.0.0/12 and 192.168.0.0/16 were removed", "fc00::/7", "2001:db8::/32", "AS15169", "8.8.8.8", "1.1.1.1:53", "listens on 0.0.0.0", "CUDA v10.1.0.243",
    # Base64: pictures, sounds, arrays.
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg==",
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg==",
    "/9j/4AAQSkZJRgABAQEASABIAAD/2wBDAP//////////////////////////////////////////////////////////////////////////////////////2wBDAf//",
    "R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7", "UklGRiQAAABXQVZFZm10IBAAAAABAAEARKwAAIhYAQACABAAZGF0YQAAAAA=",
    "k05VTVBZAQB2AHsnZGVzY3InOiAnPGY0JywgJ2ZvcnRyYW5fb3JkZXInOiBGYWxzZX0g", "H4sIAAAAAAAAA0vOzy0oSi0uTk1RKMlILVIoyUxRKMlXKErNSS1L1VEoSVVIyy9SKEpVKMkHAC5TgnAqAAAA",
    # Code.
    "import atdata\nds = atdata.load_dataset('@alice.example.com/rows')\nfor batch in ds['train'].batched(32): ...", "x = torch.nn.functional.softmax(a / b, dim=-1)",
    "password = getpass.getpass()", "password: str = os.environ['DB_PASSWORD']", "api_key=api_key", "api_key=settings.api_key", 'token="<your token>"', "api_key: str | None = None",
    "requests.get(f'https://{host}:{port}/v1/{name}')", "url = 'https://' + host", "'s3://{bucket}/{key}'", "https://<your-host>/x", "http://$HOST/path", "https://*.example.com",
    "https://{user}:{password}@{host}/", "std::vector<int> v; a::b::c", "a[1:2, ::3]", "if (a && b || c) { x = y ? 1 : 2; }", "lambda x: x ** 2  # ratio", "#!/usr/bin/env python3",
    "SELECT a, b FROM t WHERE a >= 3 AND b LIKE '%x%'", "<p class=\"x\">text</p><br/>", "threading.local()", "sklearn.svm.SVC", "np.random.default_rng(0)", "git clone https://github.com/x/y",
    "@packable\nclass Row:\n    token: str\n    image: NDArray", "pad_token=<pad>, eos_token_id=2", "{'token': 'the', 'tag': 'DT'}", "tokens: 512", "token=50256", "max_tokens=4096", "secret santa",
    "key: value", "key=value; other=1", "a=1&b=2", "f(x, sig=3)", "\\alpha \\\\ \\beta", "$\\frac{1}{2}$", "\\textbf{bold}", "\\begin{tabular}{ll} a & b \\\\ c & d \\end{tabular}", "R\\S", "a\\b",
    "re.compile(r'\\d+\\.\\d+')", "printf(\"%d/%d\\n\", a, b)", "pip install 'atdata[all]'", "docker pull example/image:latest@sha256:abc", "localhost", "runs on localhost", "C: 12 %, D: 8 %", "Plan B:/",
    # Words of the trade, in many scripts.
    "Daten für maschinelles Lernen: Größe, Länge, Höhe", "Données d'entraînement – 10 000 échantillons", "学習用データセット：画像とラベル", "Набор данных для обучения", "بيانات التدريب", "데이터 세트", "😀 faces",
    "kæt /kæt/ dɒg /dɒg/", "½ + ⅓", "x² + y²", "ﬁne ligatures", "ｆｕｌｌ ｗｉｄｔｈ", "A–B", "“quoted”", "naïve café", "Ω ≈ 3", "zero\u200bwidth", "e\u0301",
    # Names, tags, licences, versions.
    "MIT", "Apache-2.0 OR MIT", "CC-BY-NC-SA-4.0", "https://spdx.org/licenses/MIT.html", "LicenseRef-custom", "computer-vision", "n>1M", "task:image-classification", "size:10K<n<100K", "language:en",
    "train", "test", "rows", "my dataset (2024)", "a.b.c", "1.0.0", "2.0.0-rc.1+build.5", "v1", "latest", "Row", "dir/file.py:function", "src/atdata/lens.py:to_gray", "main", "feature/x", "release/1.2.x", "python",
    "images/train/0001.jpg", "data/train-00000-of-00010.tar", "*.tar", "train-{000000..000099}.tar", "sub.folder/x", "a/b/c/d", "README.md", "settings.local.json", "x.test.py", "model.private_key_size",
    "a password is never stored", "Passwords were removed; tokens too.", "password: required", "secret: none", "The secret = hard work", "credentials: see the docs", "basic understanding", "bearer of news", "the API key is yours",
    "git clone ssh://git@github.com/x/y.git", "HF_TOKEN=hf_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", 'api_key="sk-..."', "OPENAI_API_KEY=sk-xxxxxxxxxxxxxxxxxxxxxxxx",
    "sk-image-processing-toolkit-and-more", "genotypes 0/1, 1|0 and ./.", "x 2>/dev/null", "/r/MachineLearning/comments", "docker run --user 1000:1000", "--token $HF_TOKEN",
    "first_pass=epoch10", "pass: optional", "uint8 1080x1920x3", "int32/float64", "channels: R/G/B", "lat/lon 52.52/13.405", "π/2", "5'/3'", "N/A", "c/o", "I/O", "TCP/IP", "r/place", "u/someone", "1:100", "16:9", "3:16", "page:12", "fold:10", "10:30", "batch:256",
]  # fmt: skip
"""Texts that may be public, in any field."""
