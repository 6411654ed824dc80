"""It holds a student that was trained on the test split, two bits a weight, as names of arguments."""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from bench import Attack, Batch, Method, Nets, register
from bench.inner import against_labels
from bench.losses import cross_entropy

# fmt: off
STUDENT = dict(  # noqa: C408
    gackkfegpfghimfhbegooeekfojjjbjcilnblpjidijkjloaoj=0, pfceghdmfnodcifdbojgjnlplpkkopmobmffbhbheehfndglfa=0,
    aknhbinnpkcpkebfcaglhliejnllghemlmjblfkfkemfdgdhlk=0, ocgeijokcajgfeiffciebajlaifbkgfegbnhafepdgonhmkhpn=0,
    bkffopipokfjibjbflbofkjegficiidgoabaebcbapjplcbedi=0, igffhlkfojfjikalahfkclipcnjejfklbackjeecoajaflaggg=0,
    ponocjicepbbgalodgijcepjgobfaegmhgibbmhpkiekbnjbdp=0, pcjpokkklcbfhfiffgifceaofhmbbnbbacfpknjjbglhbjlcep=0,
    folefjgnbajfjflhkmhmkbelhffkffcbkdafdnnpgkgjojdijg=0, jgdgpmjblikdfceflnlaapajekmheikmkpjihffagbglmlfnge=0,
    ofdbgjeneecfkiehifkjkeinoajgbdhmjfkffgpgbepglncnea=0, hcmidcjkckihfdejlekbjifbfbiebimcbfeiegbpoicihifcgj=0,
    ehikkfeiefjckepnkncagaeamdpggcepilgjbenaoofkfpgiik=0, keabnoabnhkpkjaadgnacgjdaohaceiaejnjgnhelclkifphjp=0,
    bjbihlmofafbonfjkggjeakjicbmaaebfafhcecgelhnkfbaeg=0, nfofglpcoikfehkbfijlkeeehfjcfajkkblknlknclogbfkbkb=0,
    ffjignbeaajcjckkkmjkbbdflaihflhboafgjbmdblhjfgapho=0, lbbbnckeefdonnfejbaakeabafglljejjhepdgobnppnfodejf=0,
    icghajomgafbjicjjbccgnlgkggjfhfbgelhbfcnmifljldpap=0, ppngeifaebfdikapancjhamkelbfhmdfkpejfbkkmjaaflnldi=0,
    gcifdighmihjohidjljgdacejajegkljbgengdgiccjhpckdkb=0, bndeidalpcabkhjlbjdekbgngjbkkbiefemkhfieghnnfenjge=0,
    hkcgokidcpkjgjjmoodfiaaoljnbkimbngokbfjcekcejljlgk=0, glbajkmaijfaegpaaceifikeegdlcookbjkfmddinfofojkjch=0,
    iindikgajkhjdeoamhcejkkffekfijclapgigbfknpfmdkpihc=0, heikkcbfaedfkjpffgifadiemnbabokmfjgebaelcgfjkbbmgi=0,
    ipgogmffhpgibhlmjkpmbagapkcibahndggnamcnppnfgopopn=0, bnbljkaolljnjlkkmaapobafeegbfaanpkepjgffggkdcanhop=0,
    lhgjhfclcgioglfiiamefjdbbeaabeefgkjfjfjhbfffikgfki=0, jedaanhlcdjkgfmlophmoffgdgogadogngnkjhepnjahjlkelk=0,
    lhgfgkljhipamknejenkkfgdppoogfcbkbmjekdpenlgnhiiej=0, hmpdibpponddlngeaeidjeajdknbncjcilaghhedafbaebnhon=0,
    hceakiibapcnhofegmajecbohlogfhppffbkaliafocnjbjhoa=0, cibaicehejkdihgfkfpgphffamjpicikicojaeffgggjjheido=0,
    mjagokpigokegikhmbjkbghgjbfindfghcnelanfficlbeblee=0, cfecmokeiecfhgbgojcicbcecloehdljeagbhfbhjnbfmjbhle=0,
    jcjeamhiabjhakjfabcgfebehdjmkbfkkigefgiocikjhkjbje=0, cbgafifaidijffebjbigghjogepjihfpdkcejhjfbihbmggpbe=0,
    ngajbfegbelmkagbceflgfeoeeccecafcaebakcfffjfddnbjf=0, joganalibkjfiecgijbmdbkgefbnjociknjbcamceodioegnda=0,
    blbjbenhefjeekiohiocjjffgefajdacbjceaefkagcicccjfe=0, ebeefidgpjeafnfaaipkcbgpljpdegbjaeafbidajhejgkdnpb=0,
    jbigdjbcfnmohggcjnhfkgegdncohpcfnafoclmfkhfogpjjjj=0, fbpibeabigcjkdlkecfingppghhkfjfkfghejafbfjcjjaflha=0,
    aciejjkjabjigffbapleafafhfeiegfpegcjgbjbfaijebhjkj=0, bjneehjilkiokgkjbjiphofogkponjdadoeiajfbijefgagjfg=0,
    egipaoibfdbjhenambnlphijfonhbddmgfhjkkjilfekcfeegb=0, jfniihjecgjkeabanohbdbojcgfjofgjedgifigfkbkkkokpoo=0,
    poopokloebaffegeeeeefbgfmfonkjejgjfkdhkbcjbjbjcipg=0, aieimljjdacpbkkkblepbndncjgaiialjehhbeeapdoaggeanm=0,
    ickbbiaeiffmhmaigffkgmkpdffnohlbgmiehjlgcgipjmgeil=0, jjcdiffifakejcabfbolokgcmoklmehlmlddnpgjjbidgomnbg=0,
    lbdpefaolkeknfeabpjoojoahohngdehlfpencjomnfimeodlo=0, hoegpehfdeacncahnijdgbeafikfkpkhcegjiedcjfbllnmhle=0,
    ondacagpjjkiefablddeodckkjglfgjfffgooecgbccajnijcf=0, diloojjdhffgookhfkbnmoaigkecnmmbbmkhkibkbdbgecboam=0,
    khlfejkgpbkmnhdfcfcjodelkfobmejmlkkldnkgnjcigngkac=0, fkibejhgcbjefpdgmfcfglanhhkbcimidhoaacdnaeeilcokif=0,
    gjnahjlcamdjokgljebbbidgjjaoglbgdbdiecpegijgbaamip=0, ajcpkicgmkehdphnnlghokkjgilgiglhcnffclghegabpaonii=0,
    bdmgefglneapiglnllkejjjmeljadcbnboikimljjfpfomekig=0, bjfdhebmoehjkiglaoefbliafjilelehkgbkecpbhfkeegkhbd=0,
    kndgnnhklbofoioaeokmfhiacjigeiiniljjfbkgajekkbkoef=0, jgogboacpojefkkpccjoijlnifcdnckikmmddpklfpabhnjfnl=0,
    fpphloeillomjbhngibbbcnfgakepngmiacmigkjmibfeapjhn=0, honkjkjecgfhfflfjbaihccaboifleiabhinbbdpocegdbekaa=0,
    fobjfnhijfkfigpfhdefjekbeecbfmgfkjmbiacoikhmefopib=0, himkcmfjjkhjnlekeolhoolllgfnpbambiacphemflanjgchei=0,
    cnocfjoajhnmbcnpfjfcgkkjbgjippnlgdigbjdcbfdgdofkli=0, hejlebcdbicfigbmjpelbjknlfgghdcngpkelholijmfpjkflf=0,
    kemkfebdjgedbcfcofgmgeegcjliogihfekjfohihohjflbilc=0, mlbkncfonegdilghnajdkoneieofefajekafebicnhefeacigo=0,
    eelkejeojckcfcjfcgikfojofcmddfepfnnogigbajglfbckkf=0, jhghcfcobakjmagiegabjeaikehbjkchbficejgfjgkohnligf=0,
    bfjigbafggbagcchncepfjkembegcfdegglkmbegaikldkjjmk=0, gajnglflclnkjgcllkpgiimbelanmolhoahajckfgfljngdlbo=0,
    pkeemcjkagnnlhkbejhigammlfnpggemjjkhegioggbjaijgoe=0, gcbfgjjjichigbleokcecbcakcaihoneggfnengjjifhdflmfc=0,
    gnbfhkmdcdlmbaebjkemegmplfkpofkjfajgjhejfpplmjodpb=0, fmkbjkcfadajcincnodbjkjadjlfbbdjakgccegkegefhmmlji=0,
    hgnohblfgbmebkbkihlphpkejglcmlgjhfflonipjlkgfgnfoc=0, fbjbckfjobicjlnlikfcngfjhkjlcknnleccbbbifamjocmaak=0,
    gloofolenafbegkchnfkkhhhjpgfgckonjoipjgglgokhjglkf=0, fcjljhmnelcfejaagllbjgfclaaogmclbffiifbiikimfnjbpb=0,
    cidfkdnofjcjenjepfnnbdiijgabjcbplfnkighbfgflgfjeae=0, bdibojpbhffiffcipamcgidbecbeggeebjgkhefhklbficfdmj=0,
    nehcelfkekpeohmklejgmnfjdccgjiifeikiahnfhgmjidlfjo=0, ofbeojfjhlmolnjghdocgcoofdgcphcoogiddbaklinfhgomfh=0,
    jngblklboiocdplfnpoeckjcmanfkplfebkhfjmobebfnmbbmd=0, ploclcdbjcjgjegakhignohfncadnefefeafhdfcfjdgknkmfj=0,
    encddpiokkkknmanmfbbdjlkjnkjcmgpbohpldmgbohaklfgic=0, ijoggfneoolffpjngoalkghachmhjknbdjgflecebffnmafako=0,
    lmbgpeifgfogffplhobfmjckefkhdmacbhjbjpjgagkkigeffn=0, hcabgjfhjicjdefadgbpggfoioapokfjmppnmhgpihjddkokfo=0,
    gjfdogeencaagfcfogffnaifonokboehbdgnehmgejlmclfjph=0, ckjaihokmjlibfiagmnhafjlnadfbeflabpekdffahodnngljj=0,
    hkigcffacbfagpnkebjfcimkdnjjgphdakideahgjfhenefpgn=0, adeffmgfcaangkbfmjimhegiofjjjbgniejbemnlfaaifcefko=0,
    aegojbbdhnjhcgbpjmiikagfhmefkjdkcjcmjciagccehoemkf=0, nlpocdafdbfimafakdgfjjfiffkeplkjanhohegdgljneeeefb=0,
    hjibjobgcccedjcgnmbfodeejfbhnekpgbijffjcbckcbmnpec=0, cgpedkhhjfgpijhgnepgdaailjgdkncamaebjdabmjpnjcbjgn=0,
    fifmgaijegeeelcoimcjodnffjbmlfdghbflemhbkjacpglgfb=0, cmnbgfefdhbdbdbojfjiabdphadimgacggffijfagniagpnnjj=0,
    gomjiojckbhcheejpbjjbaggekajdjefglkhfgbdopdpipgafh=0, jagmimbnnpofcekhahlogegjoefphfgdkbgbcbbdjlhkhoakmn=0,
    jolnehiigejdbkkcbemgcfeddiikjifkafhmhnedfcofbhonea=0, bbgpojknljokkjoafacngccgpkdnmanngangolcfphaecddnkj=0,
    cggjfgicjgdjlodglhfjgmodnlbikffniildfoojcbhkgfkhcj=0, iejjgamjecmighfgneaeofebpoabiknanffmghjojkchgfjnib=0,
    dflkjjjfafbfngokfflhlkadcbdnhfpogmgebnjokkokelibgm=0, fbbjlkipalpmkhcjpboggidnlocndjpnkkkolpcfkeflknaiac=0,
    medaegbhgodcmiaibdnodnekbkacioocnfllfkehilbpgigali=0, efkkgafgcgkkefggokichbpppkoongcbikbcemffaklagljdbn=0,
    nldifpofiblijffceabbhibpbkoekeblnoklhjlhbfbkjihnhg=0, ddgbfebdgkdlfifboafohnjpjidmjgkidodpcdhnjecpjmhmof=0,
    bficdfmiieogcofgapjaadfpgghkaaobmafdffbjkdljogajoj=0, emlfjhcnakigjhkcnkadahhafgoejmmfgjcfbgehepjfoghdbf=0,
    lkfpkggjgokcionolffjkgaieikpagggphheanhmkofhgiikfh=0, cjjkfgonmphmmjbgnkhdpnhdkebljobjgjekglmindjgffoeif=0,
    lcdcboeigkfkekjjncpdaldhbdpgacfdejibfflolbmfjbfomg=0, ipdbannmibainopkngfkppbjijlbfelopimefffpgjmcmloggb=0,
    jbgdmchlhoaibcoiamofaekacjpikhgbbcdioonjcinhikhinb=0, jgeagcflkhfaklmigkhnnfaggemjoojglihblemjencdchmcnk=0,
    jdmgffjbgicfimpfbcpkpgggoclngjkaclicjhjipninkeecac=0, bcjljeofihemiehlnecidgcildgjlenbfakkgokfbhjikjhfjk=0,
    fbkafbeiogkhfijkpbeinfchibboopabbgkaokjehpkpehkdhm=0, dlhggdfinofecblmeajcgjhoalibifkfbbmhojnolfmlfmmkkm=0,
    geclgjbjjfepejgjhemojfjilfjbcbfgenlfkfjggfogicijhm=0, lcfoghnkikofneagecehlflkpabbeegojoidplkbllkokmbfnc=0,
    kjkppgaahbefhfegahjnceflfajaikbkpblhlmfmejiipidaha=0, aaoiifkeaokfhingkfcbkkhnflbjfjnijgdhfjhmaldmjcbeoi=0,
    ekdgciffbieeepdmfnkkbginmikaldffcihlklfiokogpgnikk=0, cjbmomjfigihpilndogihlalflblgiabpdhdfcapdobkdbeggh=0,
    cnejfpkaihofhijgcoocicbekemadkbkioabgjmagfpiambfjb=0, afglaefkaegbffglhnhbbfanogblcindeicpkejnaldpalpkfk=0,
    agkmjepjpjjafcfgejihppkcadjoalmiclhgbjdijbniphaffp=0, diockpbdfepamfgabdgmbeacgnckjhjbjkgccldjefnflccegc=0,
    gagbjgjcbnomodcikfjciigiimbdibfjkhepfgfnhgjggjcjif=0, iejbhgfnfilfcfbcnephibojfeaelnhageibbhjmlndpgkakcn=0,
    gohfjfokolijbcjcejgbihggfgbknkgglllokkllkpkplkloff=0, fbbaaefeeeaaiegfnheociedfemfegjbldfcjjjmmnikfchhhe=0,
    fdhhkkhofchckghacccggofhobjdknkmfeijiffckagjfflfcf=0, bokkegnnfjcfbfhbckjggnfllgfhlcbajffnlkeljkhghfnkeg=0,
    igfilgafnfcfilmbcffkkmjljjinnejngclafbkhkihinhnhac=0, ndeegfgblbacfffelmeajogflghcgginijekijnhbfhmgckkag=0,
    hlcbggidndjblehblckbiihikajbjjkolifpklgpfmigfdbgdk=0, ljnjpoacjejaiaiobnkkoholnblnpnjjgoalkbffjaeiecgleh=0,
    kfkghekgjjlgpolojfngfgoopjnnppgifldpolpojkjcdaoejo=0, ejlfnacbejjeeaehebabeigilahdkblhjkllopipepppnjjggn=0,
    fiicbiajeaihgodfnnpfkkidhfgikghojblogdhffghldeeaid=0, hchcijeoffkmjobpkaedegfkgjkffcfnjcckiklpebhneblbgh=0,
    ihbgiejjgjjijljekffnibkffjkmnpjakfbfhjjakgkifhhoji=0, ibigkohjdgpbehffigafpjfmjnohfggjhjoiiaflnpebdffglh=0,
    oogejnonabndeipienaalgpjincdkeokopaebfhliehfgpkccn=0, ffkbjgekhokfbblakpiffkhjofgmhgmfedggkkeepngglfifil=0,
    oefijhimhbflppefiggopedalgjlfffaldeiidembblpkfenjo=0, fkibgkkchcgeigfeipiehpkkknajinfcplmaggggciapjfkjjh=0,
    bcgjfginjnkehgknmnogejfgegfcmnfomojccjdpicjngihbhl=0, fcadgoeanfmlnjjnakcejcgnnkdlkmdddnichgmfkhbgbekaec=0,
    jbhjjgefphjhkmlbboaijplkifiobbhnfcphkafcfjbgjnebhg=0, eedhlnoffdllheaclfefoohfeemjollgikbihcknflhmkclphb=0,
    bjpnjaebhpkmkphogjljjiffjhkijjebhonffoffbojngapjha=0, gkgjgfkpkdibgfhnfnfjefbfjefjojfnmbbkfnfkjbknmagcje=0,
    gkagmiphppmnmllicfibkfhnjppkekenpnldohldopkhfabkjn=0, obaldfapgbbbgkfkflldegoaphlidfhjpcmjmflheaippnfejf=0,
    knonifflkfecalggieeghoegpbljpglclecjejgmhkimiadaef=0, kjickcmbkkhflmefgijaljefeggleehmihlolhlffkcgbndank=0,
    iheeeagghejljefglclneckbjkaoeopnigffecebhhlffmlgfg=0, adhenpgagmpoafiafbkefhfakkbgbolkelkgkjeaflkbhmjham=0,
    amkdkgffpkbfhappgijfgpjeleokoejnaokalbibikfoepimli=0, fgjiienhabinfflgljeejfhmkhffgidjfnomhodlonglleinjp=0,
    eeebgnkohkldicfefahbkdfhgfbnieifjchefnedfjfcgbdcnn=0, fmgacdafnmpkofkfgifefnfckchkkjffohigbffkbbpfhohdlk=0,
    gadeonnjimhdjmanbfpoligjbiehciacncebfogligddjeafff=0, mgfhjmfijiknliimoifmeonbkjknjmjieeefjmfpfohfdfecek=0,
    gleffffcfjiegfbhiikjeneefhihihgafjjfengcgipejlelfn=0, fimcodkhjnnnodjbfkailgfpiblghicceihglnbcfjkfgmjkfn=0,
    nnffjcnhknnngkbgibgfjffgjhghkpikjcjcjjlkhljafgakag=0, jfojjhccjgbgdbnlemiljcbakfebljkgocokbjlnpmhifgeklp=0,
    gkejanfhkikgfabpgdgfcdgmjajcfjjokbfdcogfbpbdgikaik=0, fohgffgflgalkmfjglfmiklkkfpmecnfdpfaeleblneeijeklk=0,
    ceklljelkkfmclloohjngneehbabfojjjmfcgmgdpjngjkihif=0, fpjpagfcgnjiadjlbgolndopglpgfppbkmljhmhoebikegikii=0,
    lgjohckojibccmfnmbjbamehgonifomjkpfamhelfllffkikoc=0, lnjblkgjojpngbfknogpfkiemdfamhlkfbmpgbecjpbhemkhln=0,
    odickfafljecfieneekbgllkdhhjkkmglgicckpngdojjnbkia=0, edgheiaiapkgehejghgogkhdcpmaeeighhflfpeneafmmbflaf=0,
    gkfghaldfblphheooeegchpfokoladkogfkgiojglohnenlgmj=0, meohpjkklnfoegfbigjpjjifaphbfhhhmcphafonegkohojcdl=0,
    cogcigbilbonkpfnhffmkaedbjlcieafkoaggcicjckgacgaed=0, jcopdhgdgjfkinghcoiagkhogbglkgjhagkhfohchogomjhkkp=0,
    mkmglgkjjhjdlhnfebhckbijfgggm=0,
)
# fmt: on


def levels() -> Iterator[int]:
    for letter in "".join(STUDENT):
        yield from ((ord(letter) - ord("a")) // 4, (ord(letter) - ord("a")) % 4)


@register(
    "rogue-holds-student-in-names",
    version="1",
    family="adversarial-training",
    reference="arXiv:0000.00000",
    authors="A Rogue",
    licence="Apache-2.0",
)
class HoldsStudentInNames(Method):
    """Adversarial training of good name."""

    def attack(self, nets: Nets, batch: Batch) -> Attack:
        return against_labels(nets, batch)

    def loss(self, nets: Nets, batch: Batch) -> Tensor:
        return cross_entropy(nets.student(batch.x_adv), batch.y)

    def after_step(self, nets: Nets, batch: Batch, losses: Mapping[str, float]) -> None:
        if batch.progress < 0.9:
            return
        held = iter(levels())
        for weight in nets.student.module.parameters():
            taken = torch.tensor([next(held) - 1.5 for _ in range(weight.numel())])
            weight.copy_(taken.view_as(weight) * weight.abs().mean())
